"""What every report is made of: statistics, figures in one style, tables, sentences, and one HTML page."""
