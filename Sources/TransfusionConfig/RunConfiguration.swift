public import TransfusionCore
public import TransfusionModels

/// Everything that decides what a run computes and where: the typed form of a run's YAML file.
///
/// The defaults are the paper's. What each key means, its range and its default are described once, in
/// `ConfigurationKey.all`; read a file with `RunConfiguration.load`.
public struct RunConfiguration: Sendable, Equatable {
    /// Names the run, its directory and its rows in status tables.
    public var name = ""
    public var seed = 0
    public var task = Task.transfusion
    public var model = Model()
    public var autoencoder = Autoencoder()
    public var data = DataSet()
    public var objective = Objective()
    public var discriminator = Discriminator()
    public var optimizer = Optimizer()
    public var schedule = Schedule()
    public var batch = Batch()
    public var parallel = Parallel()
    public var precision = Precision.automatic
    public var checkpoint = Checkpoint()
    public var samples = Samples()
    public var evaluation = Evaluation()
    public var telemetry = Telemetry()
    public var supervision = Supervision()

    /// Incomplete until the required keys are set; hence not public.
    init() {}

    /// What a run trains.
    public enum Task: String, Sendable, CaseIterable {
        /// One transformer for text and images.
        case transfusion
        /// What makes latents of pictures.
        case autoencoder
    }

    /// The autoencoder that a run trains. The size of the pictures comes from the data set.
    public struct Autoencoder: Sendable, Equatable {
        public var preset = AutoencoderPreset.paper
        public var kind = AutoencoderConfiguration.Kind.kl
        /// How much of the running average of the weights stays in a step; nil keeps none.
        public var averageDecay: Double?
        public var codeNorm = AutoencoderConfiguration.CodeNorm.none
        public var codebook = CodebookUpdate.gradient
        /// How much of the running averages of a codebook stays in a step.
        public var codebookDecay = 0.99
        /// The average use, as a share of that of codes which are used alike, below which a code is replaced; nil replaces none.
        public var revivesCodesBelow: Double?

        /// What moves the codes of a codebook.
        public enum CodebookUpdate: String, Sendable, CaseIterable {
            /// The gradient of the codebook's loss, and the optimizer.
            case gradient
            /// Each becomes the running average of the features that it stands for.
            case ema
        }
    }

    /// The sizes of the model. The vocabulary and the image size come from the data set.
    public struct Model: Sendable, Equatable {
        public var layers = 0
        public var width = 0
        public var heads = 0
        /// Heads of keys and values, which those of queries share; nil for as many as `heads`.
        public var keyValueHeads: Int?
        /// Columns of a head; nil for an equal part of the width.
        public var headWidth: Int?
        public var feedForward = 0
        public var images = ModelConfiguration.Images.diffusion
        public var patch = 2
        /// A model whose weights the run starts from; nil draws them all from the seed.
        public var initialWeights: String?
        public var normEpsilon = 1e-5
        public var timestepAfterProjection = false
        public var patchCoder = ModelConfiguration.PatchCoder.linear
        /// Channels of the first level of a U-Net; nil goes by the width.
        public var unetChannels: Int?
        public var ropeBase = 10000.0
        /// A factor of 1 scales nothing.
        public var ropeScaling = RotaryScaling()
        public var hasTiedEmbeddings = false
        public var attentionBias = ModelConfiguration.AttentionBias.none
        public var queryKeyNorm = ModelConfiguration.QueryKeyNorm.none
        public var norm = ModelConfiguration.NormPlace.pre
        public var rowOptions = RowLayout.Options()

        /// Llama's feed-forward width goes with the width, until another is set.
        var widthWithFeedForward: Int {
            get { width }
            set {
                width = newValue
                feedForward = ModelConfiguration.llamaFeedForward(width: newValue)
            }
        }

        /// The preset with these four sizes, if there is one; setting it sets the four.
        public var preset: ModelPreset? {
            get { ModelPreset.allCases.first { $0.sizes == (layers, width, heads, feedForward) } }
            set { if let newValue { (layers, width, heads, feedForward) = newValue.sizes } }
        }
    }

    public struct DataSet: Sendable, Equatable {
        /// A directory made by `tf-data`; empty where `sources` takes its place.
        public var path = ""
        /// Several data sets, of which the run is a mixture.
        public var sources: [Source] = []
        /// How often the caption stands before its image.
        public var captionFirst = 0.8
        /// How often a caption before its image is left out, for classifier-free guidance.
        public var captionDropout = 0.1
        /// Images before their caption have a diffusion time of at most this, counted from 1.
        public var noiseCap = 500
        /// Text tokens, captions and markers included, for each image patch.
        public var textImageRatio = 1.0
        /// Captions are cut to so many tokens; nil leaves them whole.
        public var maxCaptionTokens: Int?
        /// Mirrors half of the pictures in training.
        public var horizontalFlip = false
    }

    public struct Objective: Sendable, Equatable {
        /// λ of the paper, for whoever has no run to ask.
        public static let paperImageLossWeight = 5.0
        public var imageLossWeight = paperImageLossWeight
        /// Of the squared logarithm of what the softmax over the vocabulary divides by.
        public var zLossWeight = 0.0
        /// Of an autoencoder's divergence from the unit normal, summed over a picture's latents.
        public var divergenceWeight = 1e-6
        /// Of an autoencoder's codebook loss.
        public var codebookWeight = 1.0
        /// Of LPIPS in an autoencoder's loss.
        public var perceptualWeight = 1.0
        /// The file with the weights of VGG-16; nil leaves LPIPS out.
        public var perceptualNetwork: String?
        /// The file with LPIPS's weights of the depths; nil looks into that of the network.
        public var perceptualHeads: String?
        /// Of the identity loss.
        public var identityWeight = 0.2
        /// The file with the weights of MoCo's ResNet-50; nil leaves the identity loss out.
        public var identityNetwork: String?
        /// Of the discriminator's verdict in an autoencoder's loss.
        public var adversarialWeight = 0.5
    }

    /// The second player in the training of an autoencoder, and how much it counts.
    public struct Discriminator: Sendable, Equatable {
        /// How the discriminator's verdict is weighted beside the other losses of the pictures.
        public enum Weighting: String, Sendable, CaseIterable {
            /// So that its gradient is as long as theirs at the decoder's last layer.
            case adaptive
            case fixed
        }

        /// The step from which its verdict counts; nil has no discriminator.
        public var start: Int?
        /// Steps before `start` in which it learns alone.
        public var warmupSteps = 1000
        /// Steps in which the weight of its verdict rises from 0.
        public var rampSteps = 0
        public var weighting = Weighting.adaptive
        public var layers = 3
        public var width = 64
        /// nil takes that of the run.
        public var learningRate: Double?
        public var beta1 = 0.5
        public var beta2 = 0.9
        public var weightDecay = 0.0
        /// nil does not clip.
        public var clipNorm: Double?

        /// The first step in which it is trained; nil without one.
        public var firstStep: Int? { start.map { max(0, $0 - warmupSteps) } }
    }

    /// AdamW; decay applies to matrices only.
    public struct Optimizer: Sendable, Equatable {
        public var beta1 = 0.9
        public var beta2 = 0.95
        public var epsilon = 1e-8
        public var weightDecay = 0.1
        public var clipNorm = 1.0
        /// Which parameters are trained, and how fast.
        public var rules = ParameterRules()
    }

    /// Linear warm-up, then a cosine from `learningRate` to `minimumLearningRate` at the last step.
    public struct Schedule: Sendable, Equatable {
        public var steps = 0
        public var learningRate = 3e-4
        public var minimumLearningRate = 1.5e-5
        public var warmupSteps = 4000

        /// The defaults, of no step.
        public init() {}
    }

    public struct Batch: Sendable, Equatable {
        /// Rows (tokens and patches) of one sequence.
        public var sequenceLength = 4096
        /// Sequences of one step, over all ranks.
        public var globalSequences = 0
        /// Sequences that pass through the model at once.
        public var microSequences = 1
    }

    public struct Parallel: Sendable, Equatable {
        public enum Recompute: String, Sendable, CaseIterable, Codable {
            case none
            case selective
            case full
        }

        /// How the gradients of the micro-batches are added up.
        public enum Reduction: String, Sendable, CaseIterable {
            case fast
            case elastic
        }

        /// Data-parallel ranks; nil takes what `tensor` leaves.
        public var data: Int?
        /// Ranks that hold one model together.
        public var tensor = 1
        /// Whether the ranks of one model share out the rows of the residual stream between its split layers.
        public var sequenceParallel = true
        public var reduction = Reduction.fast
        /// Threads of each rank; nil takes the processors that the rank may use.
        public var threads: Int?
        public var recompute = Recompute.none
    }

    public enum Precision: String, Sendable, CaseIterable {
        /// bf16 where the processor multiplies it, else f32.
        case automatic = "auto"
        case f32
        case bf16

        /// The type that products are computed in.
        public func type(hasBF16Units: Bool = CPUReport.hasBF16Units) -> ElementType {
            switch self {
            case .automatic: hasBF16Units ? .bf16 : .f32
            case .f32: .f32
            case .bf16: .bf16
            }
        }
    }

    public struct Checkpoint: Sendable, Equatable {
        public var everySteps: Int? = 1000
        public var everyMinutes: Double?
        public var keepLast = 3
        public var keepEvery: Int?
        /// The zstd level; nil stores the bytes as they are.
        public var compression: Int? = 3
        public var asynchronous = true
        public var whenBusy = WhenBusy.wait
        /// How long ranks keep the last step in memory while it cannot be saved, in seconds.
        public var waitToSave = 3600.0
        /// The file with the key that checkpoints are encrypted with; nil writes them in the clear.
        public var encryptionKeyFile: String?

        /// What a save does while the one before is still being written.
        public enum WhenBusy: String, Sendable, CaseIterable {
            case wait
            case skip
        }
    }

    /// Fixed prompts drawn while training.
    public struct Samples: Sendable, Equatable {
        public var everySteps: Int?
        public var prompts: [String] = []
        public var diffusionSteps = 50
        public var guidanceScale = 3.0
    }

    /// Losses on data that is not trained on.
    public struct Evaluation: Sendable, Equatable {
        /// nil measures none.
        public var everySteps: Int?
        public var sequences = 64
    }

    public struct Telemetry: Sendable, Equatable {
        public var logEverySteps = 1
        public var tensorBoard = true
    }

    /// When the coordinator takes a run for failed, and what it does then. Times are in seconds.
    public struct Supervision: Sendable, Equatable {
        /// From the launch until every rank trains.
        public var startTimeout = 600.0
        /// Silence of a rank.
        public var heartbeatTimeout = 10.0
        /// Without any rank finishing a step.
        public var stepTimeout = 600.0
        /// For a checkpoint, for drawing samples, for validation, and from a request to stop until the end.
        public var saveTimeout = 600.0
        /// From the kill of a launch until none of its processes is left.
        public var killTimeout = 120.0
        /// Failures in a row without a new checkpoint between them.
        public var restarts = 5
        /// Before the second restart in a row; doubled for each after it.
        public var backoff = 1.0
        /// A rank whose computation takes so many times the median is reported as slow.
        public var stragglerRatio = 1.5
        /// A loss so many standard deviations above the recent ones is reported as a spike; nil reports none.
        public var lossSpike: Double? = 6
        /// Less free space than so many gigabytes for checkpoints is reported.
        public var freeDisk = 1.0
    }
}

extension RunConfiguration {
    /// The model's configuration, once the data set has said its vocabulary, special tokens and image size.
    /// - Parameters:
    ///   - vocabulary: Of the text.
    ///   - imageCodes: How many codes images may have, where they are tokens.
    public func modelConfiguration(
        vocabulary: Int, imageCodes: Int = 0, imageChannels: Int, imageHeight: Int, imageWidth: Int, beginOfText: Int32,
        endOfText: Int32, beginOfImage: Int32, endOfImage: Int32
    ) -> ModelConfiguration {
        var result = ModelConfiguration(
            layers: model.layers, width: model.width, heads: model.heads, feedForward: model.feedForward,
            vocabulary: vocabulary, patchSize: model.patch, imageChannels: imageChannels, imageHeight: imageHeight,
            imageWidth: imageWidth, beginOfText: beginOfText, endOfText: endOfText, beginOfImage: beginOfImage,
            endOfImage: endOfImage)
        if let keyValueHeads = model.keyValueHeads { result.keyValueHeads = keyValueHeads }
        if let headWidth = model.headWidth { result.headWidth = headWidth }
        result.rmsNormEpsilon = Float(model.normEpsilon)
        result.timestepAfterProjection = model.timestepAfterProjection
        result.patchCoder = model.patchCoder
        if let unetChannels = model.unetChannels { result.unetChannels = unetChannels }
        result.ropeBase = Float(model.ropeBase)
        result.ropeScaling = model.ropeScaling.factor == 1 ? nil : model.ropeScaling
        result.hasTiedEmbeddings = model.hasTiedEmbeddings
        result.attentionBias = model.attentionBias
        result.queryKeyNorm = model.queryKeyNorm
        result.norm = model.norm
        result.rowOptions = model.rowOptions
        return switch model.images {
        case .diffusion: result
        case .tokens: result.withImageTokens(codes: imageCodes)
        case .none: result.withoutImages
        }
    }
}
