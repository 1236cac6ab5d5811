"""One script for each foreign client; run by the client's own interpreter."""
