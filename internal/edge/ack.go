package edge

import "github.com/aegisx/pushd/internal/message"

// maxAcks bounds the deliveries of one ack.
const maxAcks = 256

// errAck refuses an ack that can't be read.
var errAck = &fault{codeBadRequest, "Invalid deliveryId: it must be one that was sent, and at most 256 at once"}

// acked reads the deliveries that a client acknowledges.
func (cmd command) acked() ([]message.ID, error) {
	var data struct {
		ID  *string  `json:"deliveryId"`
		IDs []string `json:"deliveryIds"`
	}
	if err := cmd.decode(&data); err != nil {
		return nil, err
	}
	texts := data.IDs
	if data.ID != nil {
		texts = append(texts, *data.ID)
	}
	if len(texts) == 0 || len(texts) > maxAcks {
		return nil, errAck
	}
	ids := make([]message.ID, len(texts))
	for i, text := range texts {
		var err error
		if ids[i], err = message.ParseID(text); err != nil {
			return nil, errAck
		}
	}
	return ids, nil
}

// acknowledgeLocked takes an ack. It has no answer.
func (c *conn) acknowledgeLocked(cmd command) error {
	ids, err := cmd.acked()
	if err != nil {
		return err
	}
	c.ackLocked(ids)
	return nil
}
