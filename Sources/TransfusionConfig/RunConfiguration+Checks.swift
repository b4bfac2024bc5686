import TransfusionCore
import TransfusionModels

extension RunConfiguration {
    /// Rows of a micro-batch at most, so that the bytes of its tensors can be counted for the largest model.
    private static let mostRows = 1 << 24

    /// What no single key shows: combinations of keys that make no run.
    ///
    /// Reading a file includes the checks that need the file only.
    /// - Parameters:
    ///   - ranks: The processes that will train; nil when not known yet.
    ///   - imageChannels: Of the data set's images or latents; nil when not known yet, like `imageHeight` and `imageWidth`.
    ///   - imageCodes: How many codes there are, in a data set of codes.
    ///   - decodesLatents: Whether the data set has latents and the autoencoder that made them.
    /// - Returns: One problem each, with the nearest possible values.
    public func problems(
        ranks: Int? = nil, imageChannels: Int? = nil, imageCodes: Int? = nil, decodesLatents: Bool = false,
        imageHeight: Int? = nil, imageWidth: Int? = nil
    ) -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        func require(_ holds: Bool, _ key: String, _ message: @autoclosure () -> String) {
            if !holds { problems.append(ConfigurationProblem(key, message())) }
        }
        if task == .transfusion { problems += headProblems + unetProblems + patchProblems }
        let scaling = model.ropeScaling
        require(
            scaling.lowFrequencyFactor < scaling.highFrequencyFactor, "model.rope_scaling.high_frequency_factor",
            "\(scaling.highFrequencyFactor.short) is not above the low_frequency_factor "
                + "\(scaling.lowFrequencyFactor.short)")
        require(
            schedule.minimumLearningRate <= schedule.learningRate, "schedule.minimum_learning_rate",
            "\(schedule.minimumLearningRate.short) is above the learning_rate \(schedule.learningRate.short)")
        require(
            schedule.warmupSteps <= schedule.steps, "schedule.warmup_steps",
            "\(schedule.warmupSteps) steps of warm-up\(schedule.warmupSteps == Schedule().warmupSteps ? ", the default," : "") "
                + "do not fit into \(schedule.steps) steps; use at most \(schedule.steps)")
        let microDivides = { (sequences: Int) in batch.globalSequences % sequences == 0 }
        require(
            microDivides(batch.microSequences), "batch.micro_sequences",
            "\(batch.microSequences) does not divide the \(batch.globalSequences) global_sequences; "
                + "use \(nearest(to: batch.microSequences, in: 1...batch.globalSequences, where: microDivides))")
        require(
            task == .autoencoder || batch.microSequences * batch.sequenceLength <= Self.mostRows,
            "batch.micro_sequences",
            "\(batch.microSequences) sequences of \(batch.sequenceLength) rows are more than the \(Self.mostRows) rows that "
                + "can pass through the model at once; use at most \(Self.mostRows / batch.sequenceLength)")
        let keyHeads = model.keyValueHeads ?? model.heads
        require(
            tensorDividesHeads(parallel.tensor), "parallel.tensor",
            "\(parallel.tensor) ranks do not divide the \(model.heads) heads"
                + (keyHeads == model.heads ? "" : " and \(keyHeads) key-value heads") + " of the model; use "
                + nearest(to: parallel.tensor, in: 1...max(1, model.heads), where: tensorDividesHeads))
        require(
            task == .transfusion || parallel.recompute != .selective, "parallel.recompute",
            "selective is for transformers; use none or full")
        problems += exampleProblems(imageChannels, decodesLatents: decodesLatents)
        if task == .transfusion, imageChannels != nil { problems += codeProblems(areCodes: imageCodes != nil) }
        problems += sourceProblems + codebookProblems + discriminatorProblems(imageHeight, imageWidth)
        if task == .transfusion, problems.isEmpty { problems += ruleProblems }
        if let ranks { problems += rankProblems(ranks) }
        if task == .transfusion, let imageHeight, let imageWidth, model.images != .none {
            problems += imageProblems(imageHeight, imageWidth)
        }
        return problems
    }

    /// Of what is drawn and trained on, for images of so many channels.
    private func exampleProblems(_ imageChannels: Int?, decodesLatents: Bool) -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        func require(_ holds: Bool, _ key: String, _ message: @autoclosure () -> String) {
            if !holds { problems.append(ConfigurationProblem(key, message())) }
        }
        require(
            task == .autoencoder || samples.everySteps == nil || !samples.prompts.isEmpty, "samples.prompts",
            "is empty; give prompts, or turn samples.every_steps off")
        require(
            samples.everySteps == nil || model.images != .none || imageChannels == nil, "samples.every_steps",
            "a model without images (model.images: none) draws no pictures; turn it off")
        require(
            task == .transfusion || data.sources.isEmpty, "data.sources",
            "an autoencoder trains on one data set; give its path as data.path")
        problems += latentProblems(channels: imageChannels ?? 3, areDecoded: decodesLatents)
        return problems
    }

    /// What cannot be done with latents.
    private func latentProblems(channels: Int, areDecoded: Bool) -> [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        if samples.everySteps != nil, channels != 3, !areDecoded {
            problems.append(
                ConfigurationProblem(
                    "samples.every_steps",
                    "the data set has latents of \(channels) channels and no autoencoder that makes pictures of them; make it "
                        + "anew with 'tf-data encode', or turn it off"))
        }
        if data.horizontalFlip, channels != 3 || areDecoded {
            problems.append(
                ConfigurationProblem(
                    "data.horizontal_flip",
                    "the data set has latents of \(channels) channels or their codes, which are not those of the mirrored "
                        + "picture when they are mirrored; turn it off"))
        }
        return problems
    }

    /// Of the heads of the model, with the nearest numbers that are possible.
    private var headProblems: [ConfigurationProblem] {
        var problems: [ConfigurationProblem] = []
        if let headWidth = model.headWidth {
            if headWidth % 2 != 0 {
                problems.append(
                    ConfigurationProblem(
                        "model.head_width",
                        "\(headWidth) is odd, and rotary embedding turns pairs; use \(headWidth - 1) or \(headWidth + 1)"
                    ))
            }
            // As many columns as the widest model has.
            let most = 1 << 20
            if model.heads * headWidth > most {
                problems.append(
                    ConfigurationProblem(
                        "model.head_width",
                        "\(model.heads) heads of \(headWidth) have more than \(most) columns; use at most "
                            + "\(most / model.heads)"))
            }
        } else {
            let headsDivide = { (heads: Int) in model.width % (2 * heads) == 0 }
            if !headsDivide(model.heads) {
                problems.append(
                    ConfigurationProblem(
                        "model.heads",
                        "\(model.heads) heads do not divide the width \(model.width) into equal even parts; "
                            + "use \(nearest(to: model.heads, in: 1...max(1, model.width / 2), where: headsDivide))"))
            }
        }
        let shareEvenly = { (keyHeads: Int) in model.heads % keyHeads == 0 }
        if let keyHeads = model.keyValueHeads, !shareEvenly(keyHeads) {
            problems.append(
                ConfigurationProblem(
                    "model.kv_heads",
                    "\(keyHeads) key-value heads do not divide the \(model.heads) heads; "
                        + "use \(nearest(to: keyHeads, in: 1...max(1, model.heads), where: shareEvenly))"))
        }
        return problems
    }

    /// Whether so many ranks have equal shares of the heads; several may share one of keys.
    private func tensorDividesHeads(_ tensor: Int) -> Bool {
        let keyHeads = max(1, model.keyValueHeads ?? model.heads)
        return model.heads % tensor == 0 && (keyHeads % tensor == 0 || tensor % keyHeads == 0)
    }

    /// Of the codebook of an autoencoder.
    private var codebookProblems: [ConfigurationProblem] {
        let plain = Autoencoder(), decay = "codebook_decay"
        let isSet = [
            ("code_norm", autoencoder.codeNorm != plain.codeNorm), ("codebook", autoencoder.codebook != plain.codebook),
            (decay, autoencoder.codebookDecay != plain.codebookDecay),
            ("revive_codes_below", autoencoder.revivesCodesBelow != nil),
        ]
        if autoencoder.kind == .kl {
            return isSet.filter { $0.1 }.map {
                ConfigurationProblem(
                    "autoencoder.\($0.0)", "is for a codebook; set autoencoder.kind: vq, or leave it out")
            }
        }
        let isAveraged = autoencoder.codebook == .ema || autoencoder.revivesCodesBelow != nil
        guard isSet.contains(where: { $0 == (decay, true) }), !isAveraged else { return [] }
        return [
            ConfigurationProblem(
                "autoencoder.\(decay)",
                "is for averages, and the run has none; set autoencoder.codebook: ema or autoencoder.revive_codes_below, or "
                    + "leave it out")
        ]
    }

    /// Of the discriminator of an autoencoder.
    private func discriminatorProblems(_ height: Int?, _ width: Int?) -> [ConfigurationProblem] {
        guard let start = discriminator.start else { return [] }
        if start >= schedule.steps {
            return [
                ConfigurationProblem(
                    "discriminator.start",
                    "\(start) is not before the end of the run after \(schedule.steps) steps, so that the discriminator would "
                        + "never count; use at most \(schedule.steps - 1), or off")
            ]
        }
        let side = min(height ?? .max, width ?? .max), least = 3 << discriminator.layers
        guard side < least else { return [] }
        return [
            ConfigurationProblem(
                "discriminator.layers",
                "\(discriminator.layers) layers judge pictures of at least \(least) pixels a side, and the data set's have "
                    + "\(side); use fewer")
        ]
    }

    /// Of a U-Net beside the transformer.
    private var unetProblems: [ConfigurationProblem] {
        guard model.patchCoder == .unet else {
            guard model.unetChannels != nil else { return [] }
            return [
                ConfigurationProblem(
                    "model.unet_channels", "is for a U-Net; set model.patch_coder: unet, or leave it out")
            ]
        }
        var problems: [ConfigurationProblem] = []
        func require(_ holds: Bool, _ key: String, _ message: @autoclosure () -> String) {
            if !holds { problems.append(ConfigurationProblem(key, message())) }
        }
        require(
            model.images == .diffusion, "model.patch_coder",
            "a model without patches (model.images: \(model.images.rawValue)) has no U-Net; leave it out")
        let isPower = { (patch: Int) in patch & (patch - 1) == 0 }
        require(
            isPower(model.patch), "model.patch",
            "a U-Net halves images until a patch is a point; use \(nearest(to: model.patch, in: 1...256, where: isPower)) "
                + "instead of \(model.patch), or model.patch_coder: linear")
        require(
            !model.timestepAfterProjection, "model.timestep_after_projection",
            "is for the linear patch_coder; a U-Net gets the time in each of its blocks; leave it out")
        let fits = { (channels: Int) in channels % 32 == 0 }
        let channels = model.unetChannels ?? 32
        require(
            fits(channels), "model.unet_channels",
            "\(channels) channels are no multiple of the 32 groups of the normalisations; "
                + "use \(nearest(to: channels, in: 32...4096, where: fits))")
        return problems
    }

    /// Of options of patches beside images that are none.
    private var patchProblems: [ConfigurationProblem] {
        guard model.images == .tokens else { return [] }
        let options = model.rowOptions
        let given = [
            ("timestep_after_projection", model.timestepAfterProjection),
            ("shared_image_position", options.sharedImagePosition),
            ("end_of_image_is_target", options.endOfImageIsTarget), ("causal_images", options.causalImages),
        ]
        return given.filter(\.1).map { key, _ in
            ConfigurationProblem(
                "model." + key,
                "is for images of patches; with model.images: tokens they are rows like text; leave it out")
        }
    }

    /// Of images that are not what the model takes them for.
    private func codeProblems(areCodes: Bool) -> [ConfigurationProblem] {
        guard model.images != .none, (model.images == .tokens) != areCodes else { return [] }
        let problem =
            areCodes
            ? "the data set has codes of images, which have no noise to be found; set it to tokens"
            : "the data set has no codes of images; make one of them with 'tf-data encode --codes' and an autoencoder of the "
                + "kind vq"
        return [ConfigurationProblem("model.images", problem)]
    }

    private func rankProblems(_ ranks: Int) -> [ConfigurationProblem] {
        let tensorDivides = { (tensor: Int) in ranks % tensor == 0 && tensorDividesHeads(tensor) }
        guard ranks % parallel.tensor == 0 else {
            return [
                ConfigurationProblem(
                    "parallel.tensor",
                    "\(parallel.tensor) does not divide the number of ranks, \(ranks); "
                        + "use \(nearest(to: parallel.tensor, in: 1...ranks, where: tensorDivides))")
            ]
        }
        let data = ranks / parallel.tensor
        if let wanted = parallel.data, wanted != data {
            let share = parallel.tensor == 1 ? "" : " / tensor \(parallel.tensor)"
            return [
                ConfigurationProblem(
                    "parallel.data", "\(wanted) is not the number of ranks, \(ranks)\(share); use auto or \(data)")
            ]
        }
        let microBatches = batch.globalSequences / batch.microSequences
        if microBatches < data {
            return [
                ConfigurationProblem(
                    "batch.global_sequences",
                    "\(batch.globalSequences) sequences in micro-batches of \(batch.microSequences) are too few for "
                        + "\(data) ranks; use at least \(data * batch.microSequences), or at most \(microBatches) ranks"
                )
            ]
        }
        let isPower = { (number: Int) in number & (number - 1) == 0 }
        guard parallel.reduction == .elastic, !isPower(microBatches) || !isPower(data) else { return [] }
        return [
            ConfigurationProblem(
                "parallel.reduction",
                "elastic needs powers of two, not \(microBatches) micro-batches on \(data) data-parallel ranks; use "
                    + "\(nearest(to: microBatches, in: 1...2 * microBatches, where: isPower)) micro-batches and "
                    + "\(nearest(to: data, in: 1...2 * data, where: isPower)) ranks, or fast")
        ]
    }

    private func imageProblems(_ height: Int, _ width: Int) -> [ConfigurationProblem] {
        let patchDivides = { (patch: Int) in height % patch == 0 && width % patch == 0 }
        let side = model.images == .tokens ? 1 : model.patch
        guard patchDivides(side) else {
            let possible = nearest(to: model.patch, in: 1...max(1, min(height, width)), where: patchDivides)
            return [
                ConfigurationProblem(
                    "model.patch",
                    "a patch of \(model.patch) does not divide the data set's images of \(height) × \(width); "
                        + "use \(possible)")
            ]
        }
        let rows = (height / side) * (width / side)
        // Besides its patches, a document has the markers of its beginning and end and of the image's.
        guard rows + 4 > batch.sequenceLength else { return [] }
        return [
            ConfigurationProblem(
                "batch.sequence_length",
                "\(batch.sequenceLength) rows do not hold an image of \(rows) "
                    + (model.images == .tokens
                        ? "tokens with its markers; use at least \(rows + 4)"
                        : "patches with its markers; use at least \(rows + 4), or a larger model.patch"))
        ]
    }

    /// The possible values next below and next above, in words.
    private func nearest(to value: Int, in range: ClosedRange<Int>, where isPossible: (Int) -> Bool) -> String {
        let below = range.reversed().first { $0 < value && isPossible($0) }
        let above = range.first { $0 > value && isPossible($0) }
        let both = [below, above].compactMap(\.self).map(String.init)
        return both.isEmpty ? "other sizes" : both.joined(separator: " or ")
    }
}
