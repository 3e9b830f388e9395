"""The page at ``/``: a chat, and the cluster drawn live. Static files, as a browser reads them."""
