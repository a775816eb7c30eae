"""The pages, each a thin view over the API client, the shared job board and its own state."""
