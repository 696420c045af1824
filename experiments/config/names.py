"""The names that parameters may take."""

CNN_MODELS = (
    "lenet5", "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
    "resnet18", "resnet34", "resnet50", "xception", "seresnet18", "seresnet50", "senet154",
    "alexnet_small", "vgg_small", "resnet20", "resnet56", "xception_small", "seresnet20",
)  # fmt: skip
CNN_GROUPS = {
    "small": ("lenet5", "alexnet_small", "vgg_small", "resnet20", "xception_small", "seresnet20"),
    "full": ("lenet5", "alexnet", "vgg16_bn", "resnet18", "xception", "seresnet18"),
}
IMAGE_DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10")
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MEMORY_FORMATS = ("auto", "channels_last", "contiguous")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "one_cycle", "constant")
COMPARE_KINDS = ("cnn", "seq2seq", "task")
TUNE_KINDS = ("cnn", "seq2seq")
SAMPLERS = ("tpe", "gp", "random")
PRUNERS = ("asha", "hyperband", "median", "none")
EVALUATED_TASKS = (
    "sentiment-analysis",
    "question-answering",
    "summarization",
    "next-word-prediction",
    "story-completion",
    "image-classification",
    "sequence-reversal",
)
CELLS = ("gru", "lstm", "transformer")
ATTENTIONS = ("none", "additive", "dot", "scaled_dot", "general", "concat", "multihead")
POSITIONS = ("none", "sinusoidal", "learned", "rotary", "relative")
SEQ2SEQ_GROUPS = {
    "attention": tuple(f"gru-{attention}" for attention in ATTENTIONS),
    "transformer": tuple(f"transformer-{positions}" for positions in POSITIONS),
}
SEQ2SEQ_DATASETS = ("reversal",)
SEQ2SEQ_MODELS = (
    *(f"{cell}-{attention}" for cell in ("gru", "lstm") for attention in ATTENTIONS),
    *(f"transformer-{positions}" for positions in POSITIONS),
)
PRETRAINED_TASKS = (
    "sentiment-analysis",
    "summarization",
    "next-word-prediction",
    "story-completion",
    "question-answering",
    "chatbot",
    "image-generation",
)
# Those whose starter is trained here; the others have a model in a package.
STARTER_TASKS = ("sentiment-analysis", "summarization", "question-answering", "image-generation")
