package bench

import (
	"os"
	"testing"

	"github.com/aegisx/pushd/test/leaks"
)

func TestMain(m *testing.M) { os.Exit(leaks.Main(m)) }
