package edge_test

import (
	"os"
	"testing"

	"github.com/aegisx/pushd/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.RunMain(m)) }
