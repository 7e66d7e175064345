package harness

import (
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Sign makes a client token with HS256, as a backend would. iat and exp are
// added unless claims hold them.
func Sign(secret string, claims map[string]any) (string, error) {
	now := time.Now()
	all := jwt.MapClaims{"iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
	for name, value := range claims {
		all[name] = value
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(secret))
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}
