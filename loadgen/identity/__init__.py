"""Who an endpoint is: keys, certificates, MAC addresses, key hashes and the auth lists of controllers."""
