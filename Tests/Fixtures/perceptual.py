"""LPIPS on VGG-16 and MoCo's loss on ResNet-50 with few channels and random weights: distances and gradients.

The references below are checked against the package `lpips` and torchvision at their full sizes before anything is written.
"""

import lpips
import torch
import torch.nn as nn
import torch.nn.functional as F
import torchvision

from fixture import generator, normal, write

DEPTHS = (2, 2, 3, 3, 3)


def vgg(channels):
    """torchvision's `vgg16().features` with so many channels in its five stages."""
    layers, inputs = [], 3
    for outputs, depth in zip(channels, DEPTHS):
        for _ in range(depth):
            layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU()]
            inputs = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class LPIPS(nn.Module):
    """`lpips.LPIPS(net="vgg")` in evaluation mode."""

    def __init__(self, channels):
        super().__init__()
        self.features = vgg(channels)[:-1]
        for k, width in enumerate(channels):
            head = nn.Module()
            head.model = nn.Sequential(nn.Identity(), nn.Conv2d(width, 1, 1, bias=False))
            self.add_module(f"lin{k}", head)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188])[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450])[:, None, None], persistent=False)

    def stages(self, x):
        x, found = (x - self.shift) / self.scale, []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in (3, 8, 15, 22, 29):
                found.append(x / (x.pow(2).sum(1, keepdim=True).sqrt() + 1e-10))
        return found

    def forward(self, x, y):
        heads = [self.lin0, self.lin1, self.lin2, self.lin3, self.lin4]
        parts = zip(self.stages(x), self.stages(y), heads)
        return sum(head.model((a - b) ** 2).mean((1, 2, 3)) for a, b, head in parts)


class ResNet(torchvision.models.ResNet):
    """With fewer channels; the width of the first layer is fixed in torchvision."""

    def __init__(self, width, depths):
        nn.Module.__init__(self)
        self._norm_layer, self.inplanes, self.dilation, self.groups, self.base_width = nn.BatchNorm2d, width, 1, 1, 64
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU()
        self.maxpool, self.avgpool = nn.MaxPool2d(3, 2, 1), nn.AdaptiveAvgPool2d((1, 1))
        for stage, depth in enumerate(depths):
            stride = 1 if stage == 0 else 2
            block = torchvision.models.resnet.Bottleneck
            self.add_module(f"layer{stage + 1}", self._make_layer(block, width << stage, depth, stride))
        self.fc = nn.Identity()


def identity_distance(model, x, y, side):
    """`MocoLoss` of encoder4editing, one number an image."""
    a, b = (F.normalize(model(F.interpolate(images, size=side)), dim=1) for images in (x, y))
    return 1 - (a * b.detach()).sum(1)


def randomise(model, source):
    for name, value in model.state_dict().items():
        if name.startswith("lin"):
            numbers = normal(source, *value.shape).abs()
        elif value.dim() == 4:
            numbers = normal(source, *value.shape, scale=(2 / value[0].numel()) ** 0.5)
        elif name.endswith("running_var") or (value.dim() == 1 and name.endswith("weight")):
            numbers = 1 + 0.3 * normal(source, *value.shape).clamp(-2, 2)
        elif value.dim() == 1:
            numbers = normal(source, *value.shape, scale=0.1)
        else:
            continue
        value.copy_(numbers.float().double())


def check():
    with torch.no_grad():
        theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).double().eval()
        ours = LPIPS((64, 128, 256, 512, 512)).double()
        state = theirs.state_dict()
        names = {f"features.{key.split('.', 2)[2]}": value for key, value in state.items() if key.startswith("net.")}
        ours.load_state_dict(names | {key: state[key] for key in ours.state_dict() if key.startswith("lin")})
        x, y = torch.rand(2, 2, 3, 64, 64, dtype=torch.float64) * 2 - 1
        assert torch.allclose(theirs(x, y).flatten(), ours(x, y), rtol=1e-9, atol=1e-12)
        model, full = ResNet(64, (3, 4, 6, 3)).double().eval(), torchvision.models.resnet50().double().eval()
        full.fc = nn.Identity()
        full.load_state_dict(model.state_dict())
        assert torch.equal(model(x), full(x))


def case(model, distance, x, y):
    x = x.clone().requires_grad_()
    distances = distance(x, y)
    (dx,) = torch.autograd.grad(distances.sum(), x)
    weights = {f"weight.{name}": value for name, value in model.state_dict().items() if value.is_floating_point()}
    return dict(weights, x=x, y=y, distances=distances, dx=dx)


def cases():
    source = generator(51)
    model = LPIPS((3, 5, 4, 7, 6)).double()
    randomise(model, source)
    x, y = (normal(source, 2, 3, 19, 22, scale=0.5) for _ in range(2))
    perceptual = dict(case(model, model, x, y), channels=torch.tensor([3, 5, 4, 7, 6]))
    model = ResNet(4, (2, 1, 1, 1)).double().eval()
    randomise(model, source)
    side = 40
    x, y = (normal(source, 2, 3, 13, 17, scale=0.5) for _ in range(2))
    identity = dict(
        case(model, lambda a, b: identity_distance(model, a, b, side), x, y), width=4,
        depths=torch.tensor([2, 1, 1, 1]), side=side)
    return dict(perceptual=perceptual, identity=identity)


check()
write("perceptual", cases())
