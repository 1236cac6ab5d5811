"""What verbs share; no verb itself."""
