"""Making models here: what needs transformers or diffusers outside the tasks."""
