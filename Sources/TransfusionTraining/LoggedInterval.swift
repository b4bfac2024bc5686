internal import TransfusionCheckpoint

/// What the steps since the last record of metrics.jsonl amounted to.
///
/// A checkpoint between two records keeps it, so that a run that goes on logs what one that was never stopped does.
struct LoggedInterval: Equatable {
    private(set) var steps = 0
    private var targets = 0
    private var images = 0
    private var textLoss = 0.0
    private var imageLoss = 0.0
    private var gradientNorms = 0.0

    mutating func add(_ step: StepSummary) {
        steps += 1
        targets += step.targets
        images += step.images
        textLoss += step.textLoss
        imageLoss += step.imageLoss
        gradientNorms += step.gradientNorm
    }

    /// The mean over all targets of all steps: a step with many counts for more.
    var meanTextLoss: Double { textLoss / Double(max(1, targets)) }
    /// The mean over all images of all steps.
    var meanImageLoss: Double { imageLoss / Double(max(1, images)) }
    /// The mean over the steps.
    var meanGradientNorm: Double { gradientNorms / Double(max(1, steps)) }
}

extension LoggedInterval {
    private enum Key: String {
        case steps, targets, images
        case textLoss = "loss_text"
        case imageLoss = "loss_image"
        case gradientNorms = "grad_norm"
    }

    /// As a checkpoint stores it.
    var json: JSONValue {
        let sums: [Key: Double] = [
            .steps: Double(steps), .targets: Double(targets), .images: Double(images), .textLoss: textLoss,
            .imageLoss: imageLoss, .gradientNorms: gradientNorms,
        ]
        return .object(Dictionary(uniqueKeysWithValues: sums.map { ($0.key.rawValue, .number($0.value)) }))
    }

    /// Empty when the checkpoint holds none.
    init(json: JSONValue?) {
        func integer(_ key: Key) -> Int { json?[key.rawValue]?.integer ?? 0 }
        func number(_ key: Key) -> Double { json?[key.rawValue]?.number ?? 0 }
        steps = integer(.steps)
        targets = integer(.targets)
        images = integer(.images)
        textLoss = number(.textLoss)
        imageLoss = number(.imageLoss)
        gradientNorms = number(.gradientNorms)
    }
}
