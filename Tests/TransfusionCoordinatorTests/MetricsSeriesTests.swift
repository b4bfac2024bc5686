import Foundation
import Testing
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

@Suite struct MetricsSeriesTests {
    private func record(_ step: Int, loss: Double) -> StepRecord {
        StepRecord(
            step: step, tokens: step * 10, images: 0, loss: loss, losses: ["image": 0.5, "text": loss],
            gradientNorm: loss,
            learningRate: 0.25, stepSeconds: 1, tokensPerSecond: 8, modelFLOPsUtilization: 0.5, dataSeconds: 0,
            communicationSeconds: 0, waitSeconds: 0, memoryBytes: 1)
    }

    @Test func fewRecordsStayAsTheyAre() {
        var series = MetricsSeries()
        for step in 1...5 { series.add(record(step, loss: Double(step))) }
        #expect(series.columns.step == [1, 2, 3, 4, 5] && series.columns.loss == [1, 2, 3, 4, 5])
        #expect(series.columns.recordsPerPoint == 1)
    }

    @Test func aLongRunIsBoundedAndReachesItsLastStep() {
        var series = MetricsSeries()
        let count = 100_003
        for step in 1...count { series.add(record(step, loss: Double(step))) }
        let columns = series.columns
        #expect(columns.step.count <= MetricsSeries.limit && columns.step.count > MetricsSeries.limit / 3)
        #expect(columns.step.last == count && columns.step == columns.step.sorted())
        // The mean of a point and the largest norm in it.
        let width = columns.recordsPerPoint
        #expect(columns.step[0] == width && columns.loss[0] == Float(width + 1) / 2)
        #expect(columns.gradientNorm[0] == Float(width) && columns.learningRate.allSatisfy { $0 == 0.25 })
    }

    @Test func aNumberThatIsNoneIsNotLostInAMean() {
        var series = MetricsSeries()
        for step in 1...1000 { series.add(record(step, loss: step == 500 ? .nan : 1)) }
        #expect(series.columns.loss.count { $0.isNaN } == 1)
        #expect(series.columns.gradientNorm.count { $0.isNaN } == 1)
    }

    @Test func aShareOfThePeakThatIsNotKnownIsLeftOutOfTheMean() {
        var series = MetricsSeries()
        for step in 1...MetricsSeries.limit {
            var record = record(step, loss: 1)
            record.modelFLOPsUtilization = step <= 2 || step % 2 == 0 ? nil : 0.5
            series.add(record)
        }
        #expect(series.columns.recordsPerPoint == 2)
        #expect(series.columns.mfu[0].isNaN && series.columns.mfu[1...].allSatisfy { $0 == 0.5 })
    }

    @Test func partsAndMeasurementsStandWhereTheyAre() {
        var series = MetricsSeries()
        for step in 1...4 {
            var record = record(step, loss: 1)
            record.losses = step > 2 ? ["text": Double(step), "late": 1] : ["text": Double(step)]
            if step == 3 { record.validation = StepRecord.Validation(loss: 7, losses: ["text": 6]) }
            series.add(record)
        }
        let columns = series.columns
        #expect(columns.losses["text"] == [1, 2, 3, 4] && columns.losses.keys.sorted() == ["late", "text"])
        #expect(columns.losses["late"]?.map(\.isNaN) == [true, true, false, false])
        #expect(columns.validationLoss.map(\.isNaN) == [true, true, false, true] && columns.validationLoss[2] == 7)
        #expect(columns.validationLosses["text"]?[2] == 6)
    }

    @Test func aLogLongerThanAPieceIsReadWhole() throws {
        let directory = try TemporaryDirectory(), path = directory.file("metrics.jsonl")
        let text = (1...10_000).map { record($0, loss: 1).json + "\n" }.joined()
        #expect(text.utf8.count > 2 << 20)
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        var tail = MetricsTail(path: path)
        tail.refresh()
        #expect(tail.latest?.step == 10_000 && tail.productiveSeconds == 10_000 * record(1, loss: 1).stepSeconds)
    }

    @Test func theTailFollowsALogThatIsCutAndGrowsAgain() throws {
        let directory = try TemporaryDirectory(), path = directory.file("metrics.jsonl")
        func write(_ steps: ClosedRange<Int>, loss: Double) throws {
            let text = steps.map { record($0, loss: loss).json + "\n" }.joined()
            try text.write(toFile: path, atomically: false, encoding: .utf8)
        }
        var tail = MetricsTail(path: path)
        tail.refresh()
        #expect(tail.series.columns.step.isEmpty)
        try write(1...10, loss: 1)
        tail.refresh()
        #expect(tail.series.columns.step == Array(1...10))
        // Cut to step 4 and grown beyond what was read before anybody looked.
        let cut = (1...4).map { record($0, loss: 1) } + (5...30).map { record($0, loss: 2) }
        try cut.map { $0.json + "\n" }.joined().write(toFile: path, atomically: false, encoding: .utf8)
        tail.refresh()
        #expect(tail.series.columns.step == Array(1...30))
        try write(1...3, loss: 3)
        tail.refresh()
        #expect(tail.series.columns.step == [1, 2, 3] && tail.series.columns.loss == [3, 3, 3])
    }
}
