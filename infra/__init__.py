"""The deployable stack and the build of the Lambda packages. Nothing here runs in AWS."""
