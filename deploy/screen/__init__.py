"""What people see of commands."""
