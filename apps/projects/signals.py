"""What happens to projects and must cause something above this app: what lives higher listens."""

from django.dispatch import Signal

# Sent inside the transaction that creates a project. Arguments: project.
project_created = Signal()
# Sent once a job has ended in whatever way: finished, failed, cancelled, given up. Arguments: job.
job_ended = Signal()
