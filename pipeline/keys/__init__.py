"""Keys of pseudonyms: the ring that the core reads (`keyring`) and the file it comes from (`keyfile`)."""
