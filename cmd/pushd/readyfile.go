package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeReadyFile puts b into path as JSON, whole or not at all.
func writeReadyFile(path string, b bound) (err error) {
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".pushd-ready-*")
	if err != nil {
		return fmt.Errorf("ready file: %w", err)
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Close()); err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("ready file: %w", err), os.Remove(file.Name()))
	}
	return nil
}

// removeReadyFile removes what an earlier run, or this one, left in path. An
// empty path is no file.
func removeReadyFile(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("ready file: %w", err)
	}
	return nil
}
