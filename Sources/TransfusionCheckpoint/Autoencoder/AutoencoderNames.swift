internal import TransfusionCore
internal import TransfusionModels

/// The names that other programs give the tensors of an autoencoder: Latent Diffusion and taming-transformers, and old versions
/// of diffusers.
enum AutoencoderNames {
    /// What Latent Diffusion puts before its autoencoder in the file of a whole model.
    private static let stagePrefix = "first_stage_model."
    /// Parts of training that lie in the same file: discriminator and perceptual loss.
    private static let lossPrefix = "loss."

    /// The tensors under diffusers' names, and what is no part of the autoencoder, in words.
    static func diffusers(
        _ tensors: [String: SourceTensor], _ path: String
    ) throws -> (tensors: [String: SourceTensor], passedOver: [String]) {
        var tensors = tensors
        var passedOver: [String] = []
        if tensors.keys.contains(where: { $0.hasPrefix(stagePrefix) }) {
            let others = tensors.keys.count { !$0.hasPrefix(stagePrefix) }
            if others > 0 { passedOver.append("\(others) tensors outside of \(stagePrefix)*") }
            tensors = Dictionary(
                uniqueKeysWithValues: tensors.filter { $0.key.hasPrefix(stagePrefix) }.map {
                    (String($0.key.dropFirst(stagePrefix.count)), $0.value)
                })
        }
        let losses = tensors.keys.count { $0.hasPrefix(lossPrefix) }
        if losses > 0 { passedOver.append("\(losses) tensors of the losses (\(lossPrefix)*)") }
        tensors = tensors.filter { !$0.key.hasPrefix(lossPrefix) }
        let levels = 1 + (tensors.keys.compactMap { index(after: "decoder.up.", $0) }.max() ?? 0)
        var renamed: [String: SourceTensor] = [:]
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            let new = try diffusers(name, levels: levels, path)
            let isProjection = new.hasSuffix(".weight") && new.contains(".attentions.0.to_")
            guard renamed.updateValue(isProjection ? tensor.squeezed() : tensor, forKey: new) == nil else {
                throw CheckpointError(path, "has the tensor \(new) under two names")
            }
        }
        return (renamed, passedOver)
    }

    private static func index(after prefix: String, _ name: String) -> Int? {
        guard name.hasPrefix(prefix) else { return nil }
        return name.dropFirst(prefix.count).split(separator: ".").first.flatMap { Int($0) }.flatMap {
            (0..<64).contains($0) ? $0 : nil
        }
    }

    private static let ends = [
        "nin_shortcut": ["conv_shortcut"], "norm_out": ["conv_norm_out"], "downsample": ["downsamplers", "0"],
        "upsample": ["upsamplers", "0"], "block_1": ["resnets", "0"], "block_2": ["resnets", "1"],
        "attn_1": ["attentions", "0"],
    ]
    private static let attention = [
        "norm": "group_norm", "q": "to_q", "k": "to_k", "v": "to_v", "proj_out": "to_out.0", "query": "to_q",
        "key": "to_k", "value": "to_v", "proj_attn": "to_out.0",
    ]

    /// One name; those that are diffusers' already stay what they are.
    private static func diffusers(_ name: String, levels: Int, _ path: String) throws -> String {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count > 2, parts[0] == "encoder" || parts[0] == "decoder" else { return name }
        let isLevel = parts[1] == "down" || parts[1] == "up"
        if isLevel, parts.count > 4 {
            if parts[3] == "attn" {
                throw CheckpointError(
                    path, "has attention on a level (\(name)), where diffusers' autoencoders have none")
            }
            if parts[1] == "up", let level = Int(parts[2]), (0..<levels).contains(level) {
                // Latent Diffusion counts the levels of the decoder from the pictures' size downwards.
                parts[2] = String(levels - 1 - level)
            }
            parts[1] += "_blocks"
            if parts[3] == "block" { parts[3] = "resnets" }
        } else if parts[1] == "mid" {
            parts[1] = "mid_block"
        }
        parts = parts.flatMap { ends[$0] ?? [$0] }
        if let place = parts.firstIndex(of: "attentions"), place + 2 < parts.count,
            let new = attention[parts[place + 2]]
        {
            parts[place + 2] = new
        }
        return parts.joined(separator: ".")
    }
}

extension SourceTensor {
    /// A kernel of one pixel as a matrix.
    fileprivate func squeezed() -> SourceTensor {
        guard shape.count == 4, shape[2...] == [1, 1] else { return self }
        return SourceTensor(type, Array(shape[..<2]), read: read)
    }
}

extension AutoencoderConfiguration {
    /// What the tensors of a file say of the autoencoder. Of the groups of its normalisations they say nothing: 32, as everywhere.
    init(shapes: [String: [Int]], of path: String) throws {
        func shape(_ name: String, axes: Int) throws -> [Int] {
            guard let shape = shapes[name] else {
                throw CheckpointError(path, "is no autoencoder: has no tensor \(name)")
            }
            guard shape.count == axes else {
                throw CheckpointError(
                    path, "tensor \(name) has the shape \(shape), which is not that of an autoencoder")
            }
            return shape
        }
        var levels: [Int] = []
        while let kernel = shapes["encoder.down_blocks.\(levels.count).resnets.0.conv1.weight"], levels.count < 64 {
            levels.append(kernel.first ?? 0)
        }
        let book = shapes["quantize.embedding.weight"]
        let decoder = try shape("decoder.conv_in.weight", axes: 4)[1]
        let projection = shapes["post_quant_conv.weight"]
        self.init(
            kind: book == nil ? .kl : .vq, levels: levels,
            latentChannels: projection == nil ? decoder : try shape("post_quant_conv.weight", axes: 4)[1])
        pictureChannels = try shape("encoder.conv_in.weight", axes: 4)[1]
        let encoder = try shape("encoder.conv_out.weight", axes: 4)[0]
        // Features of a width of their own, rather than means and logarithms of variances.
        if kind == .vq || encoder != 2 * latentChannels || decoder != latentChannels { featureChannels = encoder }
        projectsToLatents = shapes["quant_conv.weight"] != nil
        projectsFromLatents = projection != nil
        var blocks = 0
        while shapes["encoder.down_blocks.0.resnets.\(blocks).conv1.weight"] != nil, blocks < 100 { blocks += 1 }
        blocksPerLevel = blocks
        hasAttention = shapes["encoder.mid_block.attentions.0.to_q.weight"] != nil
        if book != nil { codes = try shape("quantize.embedding.weight", axes: 2)[0] }
        // Stable Diffusion's is the one whose scale everybody knows.
        if kind == .kl, latentChannels == 4 { latentScale = 0.18215 }
    }
}
