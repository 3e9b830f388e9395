"""Mistral 7B and its relatives, run by several Raspberry Pis as one."""
