import Testing
import TransfusionCore
import TransfusionModels

@testable import TransfusionBenchmarks

@Suite struct StepSweepTests {
    private struct Measured: Error {}

    private static var small: StepBenchmark.Settings {
        var settings = StepBenchmark.Settings()
        settings.name = "small"
        settings.sizes = (layers: 2, width: 64, heads: 2, feedForward: 128)
        settings.vocabulary = 320
        settings.sequenceLength = 512
        settings.patchesPerImage = 64
        settings.images = 2
        settings.type = .f32
        settings.threads = 1
        return settings
    }

    @Test func imagesGoFromTextToAFullSequence() {
        let points = StepSweep(.images, Self.small, machine: nil).points
        #expect(points.map(\.settings.images) == Array(0...8))
        #expect(points.first?.label == "0 % patches" && points.last?.label == "100 % patches")
    }

    @Test func sequencesHaveTheSameRowsInAStep() {
        let points = StepSweep(.sequence, Self.small, machine: nil).points
        #expect(points.map { $0.settings.sequenceLength * $0.settings.microBatches } == [4096, 4096, 4096, 4096, 8192])
        #expect(points.allSatisfy { 2 * $0.settings.images * 64 == $0.settings.sequenceLength })
    }

    @Test func layoutsThatDoNotFitAreEstimatedAndNotStarted() throws {
        let sweep = StepSweep(
            layouts: [(data: 1, tensor: 1), (data: 1, tensor: 3)], Self.small, machine: nil, availableBytes: 1_000_000)
        let rows = try sweep.run { _ in throw Measured() }
        #expect(rows.map(\.point) == ["data 1 × tensor 1", "data 1 × tensor 3"])
        #expect(
            rows[0].reason?.contains("0.00 GB are available") == true && (rows[0].plan?.memoryBytes ?? 0) > 1_000_000)
        #expect(rows[1].reason == "2 heads cannot be split over 3 ranks" && rows[1].plan == nil)
        #expect(throws: Measured.self) {
            _ = try StepSweep(layouts: [(data: 1, tensor: 1)], Self.small, machine: nil).run { _ in throw Measured() }
        }
    }

    @Test func modelsThatDoNotFitComputeActivationsAgain() throws {
        let points = StepSweep(.model, Self.small, machine: nil, availableBytes: 0).points
        #expect(points.count == ModelPreset.allCases.count)
        #expect(points.allSatisfy { $0.settings.recomputation == .full && $0.label.hasSuffix(", recompute full") })
    }
}
