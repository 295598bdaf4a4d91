"""What is said about the API: service documents, metadata, OpenAPI and its page, coverage."""
