internal import TransfusionCore
internal import TransfusionModels

extension ConfigurationKey {
    /// All keys, in the order in which they are read, written and documented.
    public static let all: [ConfigurationKey] =
        runKeys + modelKeys + autoencoderKeys + dataKeys + discriminatorKeys + optimizationKeys + executionKeys
        + outputKeys + supervisionKeys

    private static let runKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "name", \.name,
            .text("1 to 64 letters, digits and . _ - beginning with a letter or digit", where: isRunName),
            default: .inWords("the name of the file without its ending, with `-` for what may not stand in a name"),
            mayChange: true, "Name of the run and of its directory."),
        ConfigurationKey(
            "seed", \.seed, .integer(0...Int.max),
            "Decides initial weights, sample order, noise and dropout. The same seed gives the same run."),
        ConfigurationKey(
            "task", \.task, .choice,
            "What is trained: the Transfusion model, or an autoencoder of pictures. Keys of the other one are refused."),
        ConfigurationKey(
            "precision", \.precision, .choice,
            "Type of products and activations. Weights, moments and sums are f32 always. "
                + "With auto, bf16 where the processor multiplies it."),
    ]

    private static let dataKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "data.path", \.data.pathIfGiven, .either("none", or: path),
            default: .inWords("needed without data.sources"),
            mayChange: true, RunConfiguration.pathSummary),
        ConfigurationKey(
            "data.sources", \.data.sources, .sources(path: path), mayChange: true,
            "Several data sets instead of one, with one tokenizer and images of one form: each has a share of the pairs, and of "
                + "the text, that goes with its weight (1 unless given) from from_step (0) on. Digests and weights identify "
                + "the mixture."),
        ConfigurationKey(
            "data.caption_first", \.data.captionFirst, .number(0...1),
            "Share of pairs whose caption stands before the image; the others train captioning."),
        ConfigurationKey(
            "data.caption_dropout", \.data.captionDropout, .number(0...1),
            "Share of caption-first pairs that lose their caption, so that guidance has an unconditional branch."),
        ConfigurationKey(
            "data.noise_cap", \.data.noiseCap, .integer(1...1000),
            "Highest diffusion time, counted from 1 to 1000, of an image that stands before its caption."),
        ConfigurationKey(
            "data.text_image_ratio", \.data.textImageRatio, .number(0...1000),
            "Text tokens, captions and markers included, for each image patch; plain text fills up to it."),
        ConfigurationKey(
            "data.max_caption_tokens", \.data.maxCaptionTokens, .either("off", or: .integer(1...1_048_576)),
            "Cuts longer captions to so many tokens; tf-data inspect shows how long they are."),
        ConfigurationKey(
            "data.horizontal_flip", \.data.horizontalFlip, .flag,
            "Mirrors each picture in one of two epochs, drawn anew for each; in training only. Not for captions that tell "
                + "left from right."),
        ConfigurationKey(
            "objective.image_loss_weight", \.objective.imageLossWeight, .number(0...1e6),
            "Weight λ of the diffusion loss beside the text loss."),
        ConfigurationKey(
            "objective.z_loss", \.objective.zLossWeight, .number(0...1e6),
            "Weight of the mean of log² Z beside the text loss, where Z is what the softmax over the vocabulary divides by. "
                + "Chameleon trains with 1e-5."),
        ConfigurationKey(
            "objective.kl_weight", \.objective.divergenceWeight, .number(0...1e6),
            "With kl, the weight of the divergence from the unit normal, summed over a picture's latents, beside the mean "
                + "absolute error of its pixels."),
        ConfigurationKey(
            "objective.codebook_weight", \.objective.codebookWeight, .number(0...1e6),
            "With vq, the weight of the codebook's loss beside the mean absolute error of the pixels."),
        ConfigurationKey(
            "objective.perceptual_weight", \.objective.perceptualWeight, .number(0...1e6),
            "Weight of LPIPS beside the mean absolute error of the pixels, where perceptual_network is given."),
        ConfigurationKey(
            "objective.perceptual_network", \.objective.perceptualNetwork, .either("none", or: path), mayChange: true,
            "File with the weights of VGG-16 for LPIPS, safetensors or of PyTorch, as torchvision or lpips has them. A run goes "
                + "on with the same weights only."),
        ConfigurationKey(
            "objective.perceptual_heads", \.objective.perceptualHeads, .either("none", or: path), mayChange: true,
            "File with LPIPS's own weights, lin0 to lin4. With none, they are in the file of perceptual_network."),
        ConfigurationKey(
            "objective.identity_weight", \.objective.identityWeight, .number(0...1e6),
            "Weight of the identity loss, where identity_network is given."),
        ConfigurationKey(
            "objective.identity_network", \.objective.identityNetwork, .either("none", or: path), mayChange: true,
            "File with the weights of MoCo v2's ResNet-50. A run goes on with the same weights only."),
        ConfigurationKey(
            "objective.adversarial_weight", \.objective.adversarialWeight, .number(0...1e6),
            "Weight of the discriminator's verdict beside the other losses of the pictures, from discriminator.start on."
        ),
    ]

    private static let optimizationKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "optimizer.beta1", \.optimizer.beta1, .number(0..<1), "AdamW's decay of the mean of gradients."),
        ConfigurationKey(
            "optimizer.beta2", \.optimizer.beta2, .number(0..<1), "AdamW's decay of the mean of squared gradients."),
        ConfigurationKey(
            "optimizer.epsilon", \.optimizer.epsilon, .positiveNumber(to: 1),
            "Added to the root of the mean of squared gradients."),
        ConfigurationKey(
            "optimizer.weight_decay", \.optimizer.weightDecay, .number(0...1000),
            "Decoupled weight decay, on matrices only; the learning rate multiplies it."),
        ConfigurationKey(
            "optimizer.clip_norm", \.optimizer.clipNorm, .positiveNumber(to: 1e30),
            "Gradients are scaled down to this global norm when theirs is larger."),
        ConfigurationKey(
            "optimizer.frozen", \.optimizer.rules.frozen, .texts(atMost: 64),
            "Patterns of parameters that keep their values, as in [\"model.layers.*\"], where * stands for any characters. They "
                + "take no memory for gradients and moments."),
        ConfigurationKey(
            "optimizer.learning_rate_factors", \.optimizer.rules.learningRates, .learningRates,
            "Factors of the learning rate by patterns of parameters, as in {\"model.layers.*\": 0.1}; where several match, the "
                + "last one counts."),
        ConfigurationKey(
            "schedule.steps", \.schedule.steps, .integer(1...1_000_000_000), default: .none, mayChange: true,
            "Steps of the run, at the last of which the learning rate reaches its minimum."),
        ConfigurationKey(
            "schedule.learning_rate", \.schedule.learningRate, .positiveNumber(to: 1000), mayChange: true,
            "Learning rate at the end of the warm-up."),
        ConfigurationKey(
            "schedule.minimum_learning_rate", \.schedule.minimumLearningRate, .number(0...1000), mayChange: true,
            "Learning rate at the last step, at the foot of the cosine."),
        ConfigurationKey(
            "schedule.warmup_steps", \.schedule.warmupSteps, .integer(0...1_000_000_000), mayChange: true,
            "Steps in which the learning rate rises linearly from 0."),
        ConfigurationKey(
            "batch.sequence_length", \.batch.sequenceLength, .integer(8...1_048_576),
            "Rows (tokens and patches) of a sequence, into which documents are packed."),
        ConfigurationKey(
            "batch.global_sequences", \.batch.globalSequences, .integer(1...1_048_576), default: .none,
            "Sequences of one step over all ranks. It stays the same whatever the number of ranks."),
        ConfigurationKey(
            "batch.micro_sequences", \.batch.microSequences, .integer(1...65536), mayChange: true,
            "Sequences that pass through the model at once, together at most 16777216 rows; memory grows with it. It divides "
                + "global_sequences."),
    ]

    private static let executionKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "parallel.data", \.parallel.data, .either("auto", or: .integer(1...1_048_576)), mayChange: true,
            "Data-parallel ranks. With auto, what parallel.tensor leaves of the ranks that run."),
        ConfigurationKey(
            "parallel.tensor", \.parallel.tensor, .integer(1...4096), mayChange: true,
            "Ranks that hold one model together, each a part of the heads and of the feed-forward width. They share a host."
        ),
        ConfigurationKey(
            "parallel.sequence_parallel", \.parallel.sequenceParallel, .flag, mayChange: true,
            "With parallel.tensor: each rank keeps its share of the rows of norms and residuals, which saves memory."),
        ConfigurationKey(
            "parallel.reduction", \.parallel.reduction, .choice, mayChange: true,
            "How gradients are added up: fast, or elastic, which gives the same bits on 1, 2, 4 … data-parallel ranks "
                + "and takes a gradient buffer more each time a rank's number of micro-batches doubles."),
        ConfigurationKey(
            "parallel.threads", \.parallel.threads, .either("auto", or: .integer(1...4096)), mayChange: true,
            "Threads of each rank. With auto, the processors that the rank may use, shared fairly on its host."),
        ConfigurationKey(
            "parallel.recompute", \.parallel.recompute, .choice, mayChange: true,
            "What the backward pass computes again instead of keeping it: nothing, attention and "
                + "SwiGLU (selective, not of an autoencoder), or every block (full)."),
    ]

    private static let outputKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "checkpoint.every_steps", \.checkpoint.everySteps, .either("off", or: .integer(1...1_000_000_000)),
            mayChange: true, "Steps between checkpoints. The last step is always saved."),
        ConfigurationKey(
            "checkpoint.every_minutes", \.checkpoint.everyMinutes, .either("off", or: .positiveNumber(to: 1e6)),
            mayChange: true, "Minutes between checkpoints, beside every_steps."),
        ConfigurationKey(
            "checkpoint.keep.last", \.checkpoint.keepLast, .integer(1...1_000_000), mayChange: true,
            "How many of the newest checkpoints are kept."),
        ConfigurationKey(
            "checkpoint.keep.every", \.checkpoint.keepEvery, .either("off", or: .integer(1...1_000_000_000)),
            mayChange: true, "Checkpoints at multiples of this step are kept for good."),
        ConfigurationKey(
            "checkpoint.compression", \.checkpoint.compression, .either("off", or: .integer(1...19)), mayChange: true,
            "zstd level of the shards."),
        ConfigurationKey(
            "checkpoint.asynchronous", \.checkpoint.asynchronous, .flag, mayChange: true,
            "Writes beside training, after one copy of the state in memory."),
        ConfigurationKey(
            "checkpoint.when_busy", \.checkpoint.whenBusy, .choice, mayChange: true,
            "What happens to a checkpoint that is due while the one before is still being written: training waits, or it "
                + "is left out with a warning. The last of a run always waits."),
        ConfigurationKey(
            "checkpoint.wait_to_save", \.checkpoint.waitToSave, .number(0...1e6), mayChange: true,
            "Seconds for which the ranks keep the last step in memory and try again when a full disk, or one that gives "
                + "errors, does not take it."),
        ConfigurationKey(
            "checkpoint.encryption_key_file", \.checkpoint.encryptionKeyFile, .either("none", or: path),
            mayChange: true,
            "A file with 64 hexadecimal digits, as 'openssl rand -hex 32' prints: the key that encrypts the checkpoints."
        ),
        ConfigurationKey(
            "samples.every_steps", \.samples.everySteps, .either("off", or: .integer(1...1_000_000_000)),
            mayChange: true,
            "Steps between drawings of the fixed prompts, or reconstructions of the same pictures, into the run's samples "
                + "directory; for RGB pictures."),
        ConfigurationKey("samples.prompts", \.samples.prompts, .texts(atMost: 64), mayChange: true, "The prompts."),
        ConfigurationKey(
            "samples.diffusion_steps", \.samples.diffusionSteps, .integer(1...1000), mayChange: true,
            "Denoising steps of each picture."),
        ConfigurationKey(
            "samples.cfg_scale", \.samples.guidanceScale, .number(0...100), mayChange: true,
            "Strength of classifier-free guidance; 1 is none."),
        ConfigurationKey(
            "evaluation.every_steps", \.evaluation.everySteps, .either("off", or: .integer(1...1_000_000_000)),
            mayChange: true,
            "Steps between measurements of the losses on the split 'validation' of the data; measured after the last step too."
        ),
        ConfigurationKey(
            "evaluation.sequences", \.evaluation.sequences, .integer(1...65536), mayChange: true,
            "How many sequences of that split are measured: always the same ones, with the same noise."),
        ConfigurationKey(
            "telemetry.log_every_steps", \.telemetry.logEverySteps, .integer(1...1_000_000), mayChange: true,
            "Steps between lines in the log and in metrics.jsonl."),
        ConfigurationKey(
            "telemetry.tensorboard", \.telemetry.tensorBoard, .flag, mayChange: true,
            "Writes TensorBoard event files into the run's events directory."),
    ]

    private static let supervisionKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "supervision.start_timeout", \.supervision.startTimeout, .number(1...1e6), mayChange: true,
            "Seconds from a launch until every rank trains, after which tf-coord takes the launch for failed."),
        ConfigurationKey(
            "supervision.heartbeat_timeout", \.supervision.heartbeatTimeout, .number(3...1e6), mayChange: true,
            "Seconds of silence after which a rank counts as lost."),
        ConfigurationKey(
            "supervision.step_timeout", \.supervision.stepTimeout, .number(1...1e6), mayChange: true,
            "Seconds in which no rank finishes a step, after which the ranks count as hanging."),
        ConfigurationKey(
            "supervision.save_timeout", \.supervision.saveTimeout, .number(1...1e6), mayChange: true,
            "Seconds for a checkpoint, for drawing samples, for validation, and from a request to stop until all ranks have left."
        ),
        ConfigurationKey(
            "supervision.kill_timeout", \.supervision.killTimeout, .number(1...1e6), mayChange: true,
            "Seconds in which the processes of a failed launch must be gone, after which tf-coord gives up."),
        ConfigurationKey(
            "supervision.restarts", \.supervision.restarts, .integer(0...1_000_000), mayChange: true,
            "Failures in a row, without a new checkpoint between them, that tf-coord answers with a restart."),
        ConfigurationKey(
            "supervision.backoff", \.supervision.backoff, .number(0...1e6), mayChange: true,
            "Seconds before the second restart in a row; doubled for each after it, up to five minutes."),
        ConfigurationKey(
            "supervision.straggler_ratio", \.supervision.stragglerRatio, .number(1...1000), mayChange: true,
            "A rank that computes so many times as long as the median of all is reported as slow."),
        ConfigurationKey(
            "supervision.loss_spike", \.supervision.lossSpike, .either("off", or: .positiveNumber(to: 1000)),
            mayChange: true, "Standard deviations above the recent losses at which a loss is reported as a spike."),
        ConfigurationKey(
            "supervision.free_disk", \.supervision.freeDisk, .number(0...1e6), mayChange: true,
            "Gigabytes free for checkpoints, below which tf-coord warns."),
    ]

    /// The only task that the key is for; nil for a key of every run.
    var task: RunConfiguration.Task? {
        let sections = ["autoencoder.", "discriminator.", "objective.perceptual_", "objective.identity_"]
        let weights = ["objective.kl_weight", "objective.codebook_weight", "objective.adversarial_weight"]
        if sections.contains(where: path.hasPrefix) || weights.contains(path) {
            return .autoencoder
        }
        let others = ["model.", "data.", "objective.", "evaluation."]
        let single = [
            "batch.sequence_length", "parallel.tensor", "parallel.sequence_parallel", "samples.prompts",
            "samples.diffusion_steps", "samples.cfg_scale", "optimizer.frozen", "optimizer.learning_rate_factors",
        ]
        guard others.contains(where: path.hasPrefix) || single.contains(path) else { return nil }
        return ["data.path", "model.initial_weights"].contains(path) ? nil : .transfusion
    }

    static var path: ValueForm<String> { .text("a path", where: { !$0.contains("\0") }) }

    private static func isRunName(_ text: String) -> Bool { !text.isEmpty && text == RunConfiguration.runName(text) }
}

extension RunConfiguration {
    /// The name that a run gets from a file: itself where it may be a run's name, and otherwise what is left of it.
    static func runName(ofFile stem: String) -> String {
        let name = runName(stem)
        return name.isEmpty ? "run" : name
    }

    /// What of a text may be the name of a run, and of a directory that no command takes for an option: 1 to 64 letters,
    /// digits and `. _ -`, the first of them a letter or digit. Other characters become `-`, once where they follow each other.
    fileprivate static func runName(_ text: String) -> String {
        func isAlphanumeric(_ character: Character) -> Bool {
            character.isASCII && (character.isLetter || character.isNumber)
        }
        func isAllowed(_ character: Character) -> Bool { isAlphanumeric(character) || "._-".contains(character) }
        var name = ""
        for character in text {
            if isAllowed(character) { name.append(character) } else if name.last != "-" { name.append("-") }
        }
        let last = text.last.map(isAllowed) ?? true
        return String((last ? name : String(name.dropLast())).drop { !isAlphanumeric($0) }.prefix(64))
    }
}
