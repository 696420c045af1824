"""A network's layers as a diagram, a table and a few numbers. No Streamlit here."""

from collections.abc import Sequence

from tasks.anatomy import WHOLE, Block, Layer, blocks, has_weights

# Fill colors with enough contrast for black text, whatever the page's theme.
PLAIN, RESIDUAL, DENSE = "#dbeafe", "#dcfce7", "#fef3c7"
HEADER = """digraph {
  rankdir=TB; bgcolor="transparent"; nodesep=0.2; ranksep=0.3;
  node [shape=box, style="rounded,filled", fontname="sans-serif", fontsize=12, margin="0.15,0.06"];
  edge [fontname="sans-serif", fontsize=10, color="#6b7280", fontcolor="#6b7280", arrowsize=0.6];
"""


def shape_text(shape: Sequence[int]) -> str:
    """A shape without the batch, such as `16 × 32 × 32`."""
    return " × ".join(str(side) for side in shape)


def diagram(layers: Sequence[Layer], image: Sequence[int]) -> str:
    """A network as a chain of blocks in Graphviz's DOT language, with the shapes between them.

    Args: image: shape of the input, `(channels, height, width)`.
    """
    lines = [f'  b0 [label="image", fillcolor="{PLAIN}"];']
    shape = image
    for number, block in enumerate(blocks(layers), 1):
        color = RESIDUAL if block.residual else DENSE if block.layers[0].kind == "fully connected" else PLAIN
        lines.append(f'  b{number} [label="{_label(block)}", fillcolor="{color}"];')
        lines.append(f'  b{number - 1} -> b{number} [label=" {shape_text(shape)}"];')
        shape = block.output
    last = len(blocks(layers))
    lines += [f'  end [label="classes", fillcolor="{DENSE}"];', f'  b{last} -> end [label=" {shape_text(shape)}"];']
    return HEADER + "\n".join(lines) + "\n}"


def _label(block: Block) -> str:
    times = f" × {block.times}" if block.times > 1 else ""
    return "\\n".join([block.title + times, *block.parts])


def table(layers: Sequence[Layer]) -> list[dict[str, object]]:
    """A row a layer: what it is, the shape that leaves it, and what it costs."""
    return [
        {
            "layer": layer.kind,
            "output": shape_text(layer.output),
            "parameters": layer.parameters,
            "MFLOPs": layer.flops / 1e6,
            "receptive field": "all" if layer.receptive_field == WHOLE else f"{layer.receptive_field:.0f} px",
            "module": layer.name,
        }
        for layer in layers
    ]


def facts(layers: Sequence[Layer]) -> dict[str, str]:
    """The numbers that one compares networks by."""
    parameters = sum(layer.parameters for layer in layers)
    flops = sum(layer.flops for layer in layers)
    seen = max(layer.receptive_field for layer in layers if layer.receptive_field != WHOLE)
    return {
        "Parameters": f"{parameters / 1e6:.2f} M" if parameters >= 1e6 else f"{parameters:,}",
        "FLOPs per image": f"{flops / 1e9:.2f} G" if flops >= 1e9 else f"{flops / 1e6:.1f} M",
        "Layers with weights": str(sum(has_weights(layer) for layer in layers)),
        "Receptive field": f"{seen:.0f} px",
    }
