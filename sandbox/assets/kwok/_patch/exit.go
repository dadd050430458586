package server

import (
	"errors"
	"os/exec"

	utilexec "k8s.io/utils/exec"
)

// exitError gives a failed command's exit code the type that the streaming server turns into a status for the client.
func exitError(err error) error {
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return &utilexec.ExitErrorWrapper{ExitError: failed}
	}
	return err
}
