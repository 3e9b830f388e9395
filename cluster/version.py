"""The version of the program; what is installed takes its own from here."""

VERSION = "0.1.0"
