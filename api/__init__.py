"""The service: HTTP, its store, the controller, the client."""
