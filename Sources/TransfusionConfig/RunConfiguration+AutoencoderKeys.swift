internal import TransfusionModels

/// Keys of an autoencoder, and of the discriminator that it may train against.
extension ConfigurationKey {
    static let autoencoderKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "autoencoder.preset", \.autoencoder.preset, .choice,
            "Sizes of the autoencoder that task: autoencoder trains: the paper's, Stable Diffusion's, or a laptop's."),
        ConfigurationKey(
            "autoencoder.kind", \.autoencoder.kind, .choice,
            "Whether its latents are drawn from a normal distribution (kl) or are vectors of a codebook (vq)."),
        ConfigurationKey(
            "autoencoder.average_decay", \.autoencoder.averageDecay, .either("off", or: .number(0..<1)),
            "How much of a running average of its weights stays in a step, as in 0.9999 (less at the beginning); whoever uses "
                + "the run takes the average. It is 4 bytes a parameter, shared out over the ranks."),
        ConfigurationKey(
            "autoencoder.code_norm", \.autoencoder.codeNorm, .choice,
            "With vq and l2, codes and features are scaled to a length of 1 before they are compared, which keeps most codes of a "
                + "large codebook in use."),
        ConfigurationKey(
            "autoencoder.codebook", \.autoencoder.codebook, .choice,
            "What moves the codes of vq: the gradient of the codebook's loss, or with ema a running average of the features that "
                + "each stands for, so that the loss draws features to codes alone."),
        ConfigurationKey(
            "autoencoder.codebook_decay", \.autoencoder.codebookDecay, .number(0..<1),
            "How much of the running averages of codes and of their use stays in a step."),
        ConfigurationKey(
            "autoencoder.revive_codes_below", \.autoencoder.revivesCodesBelow,
            .either("off", or: .positiveNumber(to: 1)),
            "A code whose average use falls below this share of what it would be if all were used alike becomes a feature of the "
                + "step's batch, drawn at random."),
    ]

    static let discriminatorKeys: [ConfigurationKey] = [
        ConfigurationKey(
            "discriminator.start", \.discriminator.start, .either("off", or: .integer(0...1_000_000_000)),
            "Step from which a discriminator, which learns to tell pictures from reconstructions, counts in an autoencoder's "
                + "loss. The paper's is 50000."),
        ConfigurationKey(
            "discriminator.warmup_steps", \.discriminator.warmupSteps, .integer(0...1_000_000_000),
            "Steps before discriminator.start in which it learns without a say, as an untrained one spoils the autoencoder."
        ),
        ConfigurationKey(
            "discriminator.ramp_steps", \.discriminator.rampSteps, .integer(0...1_000_000_000),
            "Steps in which the weight of its verdict rises linearly from 0, from discriminator.start on."),
        ConfigurationKey(
            "discriminator.weight", \.discriminator.weighting, .choice,
            "With adaptive, objective.adversarial_weight is multiplied in each step by the length of the other losses' gradient "
                + "at the decoder's last layer over that of the discriminator's, at most 10000. With fixed, it is not."),
        ConfigurationKey(
            "discriminator.layers", \.discriminator.layers, .integer(1...6),
            "Layers between its first one and its last; pictures have at least 3 · 2^layers pixels a side."),
        ConfigurationKey(
            "discriminator.width", \.discriminator.width, .integer(8...512),
            "Channels of its first layer; each further one has twice as many, up to eight times."),
        ConfigurationKey(
            "discriminator.learning_rate", \.discriminator.learningRate,
            .either("auto", or: .positiveNumber(to: 1000)),
            "Its learning rate where the run's is schedule.learning_rate; it follows the run's schedule. With auto, the same."
        ),
        ConfigurationKey(
            "discriminator.beta1", \.discriminator.beta1, .number(0..<1), "Its AdamW's decay of the mean of gradients."),
        ConfigurationKey(
            "discriminator.beta2", \.discriminator.beta2, .number(0..<1),
            "Its AdamW's decay of the mean of squared gradients."),
        ConfigurationKey(
            "discriminator.weight_decay", \.discriminator.weightDecay, .number(0...1000),
            "Its decoupled weight decay, on matrices only."),
        ConfigurationKey(
            "discriminator.clip_norm", \.discriminator.clipNorm, .either("off", or: .positiveNumber(to: 1e30)),
            "Its gradients are scaled down to this norm when theirs is larger."),
    ]
}
