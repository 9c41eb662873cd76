package options

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
)

// Secret is a string that no formatting verb, no log handler and no encoder prints.
type Secret string

const redacted = "[redacted]"

func (Secret) String() string               { return redacted }
func (Secret) GoString() string             { return redacted }
func (Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Format keeps the verbs that do not ask for String, such as %x, from the text.
func (Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// ReadSecret returns the secret, or the content of the file without the white space around it. key is the file's, for errors.
func ReadSecret(key string, given Secret, file string) (Secret, error) {
	if file == "" {
		return given, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	s := Secret(strings.TrimSpace(string(b)))
	if s == "" {
		return "", fmt.Errorf("read %s: %s is empty", key, file)
	}
	return s, nil
}

// ValidateUser wants a password, given one way, where there is a user, and none otherwise.
func ValidateUser(user string, password Secret, file string) error {
	switch {
	case user == "" && (password != "" || file != ""):
		return errors.New("user: missing, but a password is given")
	case user != "" && (password == "") == (file == ""):
		return errors.New("password_file: want exactly one of password and password_file with user")
	}
	return nil
}
