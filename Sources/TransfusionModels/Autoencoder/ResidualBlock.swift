internal import TransfusionCore

/// Two convolutions beside a way past them, each behind a normalisation and SiLU.
///
/// ### References
/// He et al. 2016, "Identity mappings in deep residual networks"; diffusers' `ResnetBlock2D`, whose timestep is added to all
/// pixels between the convolutions.
struct ResidualBlock {
    let norm1: GroupNorm
    let conv1: Convolution
    /// Nil in a block without timestep.
    let timestep: Convolution?
    let norm2: GroupNorm
    let conv2: Convolution
    /// Nil where the number of channels stays.
    let shortcut: Convolution?

    /// - Parameter timestepWidth: The length of the vector that says the timestep; nil makes a block without one.
    init(
        _ name: String, inputs: Int, outputs: Int, groups: Int, timestepWidth: Int? = nil,
        epsilon: Float = AutoencoderConfiguration.normEpsilon, in builder: ParameterBuilder
    ) {
        let padding = ConvolutionPadding(1)
        norm1 = GroupNorm(name + ".norm1", channels: inputs, groups: groups, epsilon: epsilon, in: builder)
        conv1 = Convolution(
            name + ".conv1", inputs: inputs, outputs: outputs, kernel: 3, padding: padding, in: builder)
        timestep = timestepWidth.map {
            Convolution(name + ".time_emb_proj", inputs: $0, outputs: outputs, kernel: nil, in: builder)
        }
        norm2 = GroupNorm(name + ".norm2", channels: outputs, groups: groups, epsilon: epsilon, in: builder)
        conv2 = Convolution(
            name + ".conv2", inputs: outputs, outputs: outputs, kernel: 3, padding: padding, in: builder)
        shortcut =
            inputs == outputs
            ? nil
            : Convolution(name + ".conv_shortcut", inputs: inputs, outputs: outputs, kernel: 1, in: builder)
    }

    /// - Parameter recomputes: Whether what is inside is forgotten, and made again in the backward pass.
    func run(_ x: Tensor, recomputes: Bool, _ context: Context) -> Tensor {
        guard recomputes else { return self(x, context) }
        return context.checkpointed(x) { self($0, context) }
    }

    /// - Parameter time: `[images, 1, 1, timestepWidth]`, what SiLU makes of the timestep's vector.
    func callAsFunction(_ x: Tensor, time: Tensor? = nil, _ context: Context) -> Tensor {
        let past = shortcut.map { $0(x, context) } ?? x
        var hidden = conv1(norm1(x, context, silu: true), context)
        if let timestep, let time { hidden = context.addToGroups(hidden, timestep(time, context)) }
        return conv2(norm2(hidden, context, silu: true), context, addingTo: past)
    }
}

/// Attention between all pixels, beside a way past it: diffusers' `Attention` in a `UNetMidBlock2D`.
struct PictureAttention {
    let norm: GroupNorm
    let query: Convolution
    let key: Convolution
    let value: Convolution
    let output: Convolution
    private let heads: Int

    init(
        _ name: String, channels: Int, heads: Int = 1, groups: Int,
        epsilon: Float = AutoencoderConfiguration.normEpsilon, in builder: ParameterBuilder
    ) {
        self.heads = heads
        func layer(_ part: String) -> Convolution {
            Convolution(name + "." + part, inputs: channels, outputs: channels, kernel: nil, in: builder)
        }
        norm = GroupNorm(
            name + ".group_norm", channels: channels, groups: groups, epsilon: epsilon, in: builder)
        query = layer("to_q")
        key = layer("to_k")
        value = layer("to_v")
        output = layer("to_out.0")
    }

    func callAsFunction(_ x: Tensor, _ context: Context) -> Tensor {
        let normed = norm(x, context)
        let seen = context.pictureAttention(
            query: query(normed, context), key: key(normed, context), value: value(normed, context), heads: heads)
        return output(seen, context, addingTo: x)
    }
}

/// What is between the levels of an encoder or decoder: two residual blocks, with attention between them.
struct MiddleBlock {
    let first: ResidualBlock
    let attention: PictureAttention?
    let second: ResidualBlock

    init(_ name: String, channels: Int, _ configuration: AutoencoderConfiguration, in builder: ParameterBuilder) {
        let groups = configuration.groups
        func block(_ index: Int) -> ResidualBlock {
            ResidualBlock(
                name + ".resnets.\(index)", inputs: channels, outputs: channels, groups: groups, in: builder)
        }
        first = block(0)
        attention =
            configuration.hasAttention
            ? PictureAttention(name + ".attentions.0", channels: channels, groups: groups, in: builder) : nil
        second = block(1)
    }

    func callAsFunction(_ x: Tensor, _ context: Context) -> Tensor {
        let hidden = first(x, context)
        return second(attention.map { $0(hidden, context) } ?? hidden, context)
    }
}
