"""The idea of each family of networks in a few words, and its paper."""

from typing import NamedTuple


class Idea(NamedTuple):
    """What a paper brought, in two sentences."""

    paper: str
    link: str
    text: str


IDEAS = {
    "lenet": Idea(
        "LeCun, Bottou, Bengio and Haffner 1998",
        "https://doi.org/10.1109/5.726791",
        "Small filters are shared across the whole picture, and pooling makes what they find independent of the exact "
        "place; fully connected layers decide. Convolve, pool, classify: all the others elaborate on this.",
    ),
    "alexnet": Idea(
        "Krizhevsky, Sutskever and Hinton 2012",
        "https://doi.org/10.1145/3065386",
        "The same plan, much larger, for color photographs: ReLU makes it train fast, dropout and augmentation keep "
        "its many parameters from memorizing. It won ILSVRC 2012 by a wide margin and began deep learning in vision.",
    ),
    "vgg": Idea(
        "Simonyan and Zisserman 2015",
        "https://arxiv.org/abs/1409.1556",
        "Only 3 x 3 convolutions: two in a row see as much as one 5 x 5, with fewer parameters and one more "
        "nonlinearity. What brings the accuracy is depth.",
    ),
    "resnet": Idea(
        "He, Zhang, Ren and Sun 2016",
        "https://arxiv.org/abs/1512.03385",
        "Each block learns a correction that is added to its input, so that gradients pass through the sum unchanged. "
        "Networks of a hundred layers then train as readily as shallow ones.",
    ),
    "xception": Idea(
        "Chollet 2017",
        "https://arxiv.org/abs/1610.02357",
        "Every convolution is split in two: a depthwise one looks at space, one channel at a time, and a 1 x 1 one "
        "mixes the channels. What that saves in parameters goes into depth and width.",
    ),
    "senet": Idea(
        "Hu, Shen and Sun 2018",
        "https://arxiv.org/abs/1709.01507",
        "A small side network looks at the means of all channels and scales each channel by what it finds: squeeze and "
        "excitation. It costs little and can be added to any network; here it is added to ResNets.",
    ),
}
