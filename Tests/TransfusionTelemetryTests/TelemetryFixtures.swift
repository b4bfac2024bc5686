import Foundation

@testable import TransfusionTelemetry

func record(_ step: Int, loss: Double = 2.31) -> StepRecord {
    StepRecord(
        step: step, tokens: 512 * step, images: 24 * step, loss: loss, losses: ["image": 0.082, "text": 1.9],
        gradientNorm: 0.71, learningRate: 3e-4, stepSeconds: 2.1, tokensPerSecond: 5120,
        modelFLOPsUtilization: 0.41, othersShare: 0.02, dataSeconds: 0.021, communicationSeconds: 0.189,
        waitSeconds: 0.084,
        memoryBytes: 3_100_000_000, textToImageRatio: 1.5, padding: 0)
}
