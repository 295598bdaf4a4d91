"""One file per format: a record of a vendor becomes alerts or events. Importing this package registers them."""
