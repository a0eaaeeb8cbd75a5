"""What whoever runs an archive asks of it, beside what the archive itself answers.

`doctor` and `status`: `aws` alone knows boto3, `gather` and what it calls ask, `facts` are what came back, and every
check is a pure function of facts.
"""
