package sts

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
)

// The calls that a device's role may make: what an agent needs to fetch its models and its settings.
const (
	ecrTarget   = "AmazonEC2ContainerRegistry_V20150921."
	ssmTarget   = "AmazonSSM."
	parameters  = "/gnomon" // and what is below it
	errReadOnly = "a device's role may read only; sign with the administrator's access key to change something"
)

func ecrReads() []string {
	return []string{
		"GetAuthorizationToken", "BatchGetImage", "GetDownloadUrlForLayer", "BatchCheckLayerAvailability",
		"DescribeRepositories", "DescribeImages", "ListImages",
	}
}

// Authorize says whether who may make a request to S3, ECR or Parameter Store, after Verify: the administrator may
// do everything, a device read objects, pull images, and read the parameters below /gnomon.
func Authorize(who Principal, r *http.Request) error {
	target := r.Header.Get("X-Amz-Target")
	call, isECR := strings.CutPrefix(target, ecrTarget)
	switch {
	case who.Admin:
		return nil
	case who.Thing == "":
		return errors.New("nobody has signed the request")
	case target == "":
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			return nil
		}
	case isECR:
		if slices.Contains(ecrReads(), call) {
			return nil
		}
	default:
		return mayReadParameters(r)
	}
	return errors.New(errReadOnly)
}

func mayReadParameters(r *http.Request) error {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxCall))
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	in := struct {
		Name, Path string
		Names      []string
	}{}
	if err := json.Unmarshal(body, &in); err != nil {
		return errors.New("the call is not JSON")
	}
	names := in.Names
	switch r.Header.Get("X-Amz-Target") {
	case ssmTarget + "GetParameter":
		names = []string{in.Name}
	case ssmTarget + "GetParametersByPath":
		names = []string{strings.TrimRight(in.Path, "/") + "/"}
	case ssmTarget + "GetParameters":
	default:
		return errors.New(errReadOnly)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, parameters+"/") {
			return errors.New("a device's role may read the parameters below " + parameters + " only")
		}
	}
	return nil
}
