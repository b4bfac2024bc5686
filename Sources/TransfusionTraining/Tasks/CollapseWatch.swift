internal import Foundation

/// Sees when the training of an autoencoder against its discriminator goes wrong, from the losses of its steps.
///
/// Known ends of such runs: the discriminator's gradient vanishes, so that the adaptive weight reaches its bound; the
/// discriminator tells everything apart and teaches nothing; its verdict drowns the reconstruction, whose error rises.
final class CollapseWatch {
    /// The mean error of reconstructions at its best so far, and now; both smooth.
    private var bestError = Double.infinity
    private var error: Double?
    /// The discriminator's loss, smooth.
    private var discriminatorLoss: Double?
    private var steps = 0
    /// The first step in which a warning may come again.
    private var silentUntil = 0

    private static let decay = 0.98
    /// Steps after which the smooth numbers say something.
    private static let leastSteps = 50
    /// Steps between two warnings.
    private static let pause = 1000

    /// - Parameter losses: The means of a step, by name.
    /// - Returns: A warning that is due.
    func observe(_ losses: [String: Double], step: Int) -> String? {
        if let now = losses["reconstruction"] { error = Self.smooth(error, now) }
        steps += 1
        guard let loss = losses[Adversary.Part.discriminator.rawValue] else {
            discriminatorLoss = nil
            return noteBest()
        }
        discriminatorLoss = Self.smooth(discriminatorLoss, loss)
        guard step >= silentUntil, let problem = problem(losses) else { return noteBest() }
        silentUntil = step + Self.pause
        return "step \(step + 1): \(problem)"
    }

    private static func smooth(_ old: Double?, _ new: Double) -> Double {
        old.map { decay * $0 + (1 - decay) * new } ?? new
    }

    private func noteBest() -> String? {
        if let error, steps >= Self.leastSteps { bestError = min(bestError, error) }
        return nil
    }

    private func problem(_ losses: [String: Double]) -> String? {
        guard let verdict = losses[Adversary.Part.adversarial.rawValue], verdict.isFinite else { return nil }
        if let weight = losses[Adversary.Part.adaptiveWeight.rawValue], weight >= Adversary.largestAdaptiveWeight {
            return
                "the adaptive weight of the discriminator is at its bound of 10000, so its gradient has vanished; begin "
                + "again from the last good checkpoint with a smaller discriminator.learning_rate"
        }
        if let error, error > 1.5 * bestError {
            return String(
                format:
                    "reconstructions have become worse under the discriminator, an error of %.4g after %.4g; take a "
                    + "smaller objective.adversarial_weight, or a longer discriminator.warmup_steps and ramp_steps",
                error, bestError)
        }
        if let discriminatorLoss, steps >= Self.leastSteps, discriminatorLoss < 0.02 {
            return "the discriminator tells all reconstructions from pictures, so it teaches nothing; take a smaller "
                + "discriminator.learning_rate"
        }
        return nil
    }
}
