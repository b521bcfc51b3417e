"""A mix as other tools take it: WebDataset tars, a folder for Hugging Face `datasets`, Croissant metadata."""
