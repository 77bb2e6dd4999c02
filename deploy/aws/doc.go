// Package aws has only tests: they check gnomon.yaml, the CloudFormation template of the cloud side. What the tests
// work with comes out of the template itself: policies, provisioning templates, the Lambda function.
package aws
