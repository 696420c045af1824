"""The starter that draws pictures: a small Stable Diffusion of digits and clothes."""
