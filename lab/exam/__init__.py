"""Questions in: loaders, prompts, the leak guard."""
