package convert

import (
	"errors"
	"fmt"

	"gnomon/third_party/nanodet/internal/tfjs"
)

// largestSide bounds the sizes that a node may name: more than any picture has, and far from what an int holds.
const largestSide = 1 << 15

// tensorInput returns an input of a node that depends on the model's input.
func (c *converter) tensorInput(n *tfjs.Node, i int) (*value, error) {
	v, err := c.value(n.Inputs[i])
	if err != nil {
		return nil, err
	}
	if v.constant != nil {
		return nil, fmt.Errorf("input %d (%q) is a constant, it should depend on the model's input", i, n.Inputs[i].Node)
	}
	return v, nil
}

// constantInput returns an input of a node that does not depend on the model's input.
func (c *converter) constantInput(n *tfjs.Node, i int) (*tfjs.Tensor, error) {
	v, err := c.value(n.Inputs[i])
	if err != nil {
		return nil, err
	}
	if v.constant == nil {
		return nil, fmt.Errorf("input %d (%q) must be a constant", i, n.Inputs[i].Node)
	}
	return v.constant, nil
}

// intsInput returns a constant input of whole numbers, row by row.
func (c *converter) intsInput(n *tfjs.Node, i int) ([]int, error) {
	t, err := c.constantInput(n, i)
	if err != nil {
		return nil, err
	}
	if t.Ints == nil {
		return nil, fmt.Errorf("input %d (%q) must hold whole numbers", i, n.Inputs[i].Node)
	}
	ints := make([]int, len(t.Ints))
	for i, v := range t.Ints {
		ints[i] = int(v)
	}
	return ints, nil
}

// axisInput returns a constant input that counts an axis, from the end if negative.
func (c *converter) axisInput(n *tfjs.Node, i, rank int) (int, error) {
	ints, err := c.intsInput(n, i)
	if err != nil {
		return 0, err
	}
	if len(ints) != 1 || ints[0] < -rank || ints[0] >= rank {
		return 0, fmt.Errorf("%v is not an axis of a tensor with %d", ints, rank)
	}
	return (ints[0] + rank) % rank, nil
}

// requireText refuses a node whose attribute has another value than the one supported.
func requireText(n *tfjs.Node, attr, want string) error {
	if got := string(n.Attrs[attr].Text); got != want {
		return fmt.Errorf("%s is %q, only %q is supported", attr, got, want)
	}
	return nil
}

// requireBool refuses a node whose attribute has another value than the one supported; absent means false.
func requireBool(n *tfjs.Node, attr string, want bool) error {
	b := n.Attrs[attr].Bool
	if got := b != nil && *b; got != want {
		return fmt.Errorf("%s is %t, only %t is supported", attr, got, want)
	}
	return nil
}

// window returns the height and width of an attribute that lists sizes of a channels-last window.
func window(n *tfjs.Node, attr string) (h, w int, err error) {
	list := n.Attrs[attr].List
	if list == nil || len(list.Ints) != 4 {
		return 0, 0, fmt.Errorf("%s must be a list of 4 sizes", attr)
	}
	for _, size := range list.Ints {
		if size < 1 || size > largestSide {
			return 0, 0, fmt.Errorf("%s: every size must be between 1 and %d, one is %d", attr, largestSide, size)
		}
	}
	if list.Ints[0] != 1 || list.Ints[3] != 1 {
		return 0, 0, fmt.Errorf("%s goes over batches or channels, only height and width are supported", attr)
	}
	return int(list.Ints[1]), int(list.Ints[2]), nil
}

// pictureInput returns an input of a node that is a batch of channels-last pictures.
func (c *converter) pictureInput(n *tfjs.Node) (*value, error) {
	v, err := c.tensorInput(n, 0)
	if err != nil {
		return nil, err
	}
	if len(v.shape) != 4 {
		return nil, fmt.Errorf("its input has %d axes, it should have 4: batch, height, width, channels", len(v.shape))
	}
	return v, nil
}

// slides returns the number of positions of a window that stays inside a side (TensorFlow's padding VALID).
func slides(side, window, dilation, stride int) (int, error) {
	room := side - ((window-1)*dilation + 1)
	if room < 0 {
		return 0, errors.New("the window is larger than the picture")
	}
	return room/stride + 1, nil
}
