import Testing
import _TestUtilities

@testable import TransfusionCore

@Suite struct StepTimePlanTests {
    private static let model = ModelConfiguration(
        layers: 2, width: 64, heads: 4, feedForward: 128, vocabulary: 1000, patchSize: 2, imageChannels: 4,
        imageHeight: 8, imageWidth: 8, beginOfText: 1, endOfText: 2, beginOfImage: 998, endOfImage: 999)
    private static let rows = FloatingPointWork.Rows(count: 100, targets: 60, patches: 40, visiblePairs: 5000)
    /// 6 for each weight and row, 12 for each visible pair and element of width, in every layer.
    private static let blockOperations = 2.0 * (6 * (4 * 64 * 64 + 3 * 64 * 128) * 100 + 12 * 64 * 5000)
    /// Head, and both ways between patches and width.
    private static let otherOperations = 6.0 * 64 * 1000 * 60 + 12 * 64 * 16 * 40
    private static let parameters: Double = {
        let elements = TransfusionModel.elementCounts(model)
        return Double(elements.matrices + elements.vectors)
    }()

    /// One operation takes 1 ns on both threads together, and what passes over memory add at width 64 another.
    private static let machine: MachineRates = {
        var machine = MachineRates.example
        machine.secondsPerOperation = 1e-9
        machine.secondsPerOperationAndInverseWidth = 64e-9
        machine.updatesPerSecond = 1e6
        machine.sharedSumBytesPerSecond = 1e8
        return machine
    }()
    private static let network = NetworkRates(bytesPerSecond: 1e6, latency: 1e-3)

    private func plan(
        threads: Int = 2, network: NetworkRates = Self.network, _ change: (inout MemoryPlan.Layout) -> Void = { _ in }
    ) -> StepTimePlan {
        var layout = MemoryPlan.Layout()
        change(&layout)
        return StepTimePlan(Self.model, layout, Self.rows, machine: Self.machine, threads: threads, network: network)
    }

    private func isClose(_ value: Double, _ expected: Double) -> Bool {
        abs(value - expected) <= 1e-9 * max(abs(expected), 1e-12)
    }

    @Test func aLoneRankComputesAndUpdates() {
        let plan = plan { $0.microBatches = 3 }
        #expect(isClose(plan.compute, 3 * (Self.blockOperations + Self.otherOperations) * 2e-9))
        #expect(isClose(plan.update, Self.parameters / 1e6))
        #expect(plan.tensorExchange == 0 && plan.gradientExchange == 0 && plan.weightExchange == 0)
        #expect(isClose(plan.total, plan.compute + plan.update))
    }

    @Test func halfTheThreadsTakeTwiceAsLong() {
        #expect(isClose(plan(threads: 1).total, 2 * plan().total))
    }

    @Test func recomputationIsAnotherForwardPass() {
        let none = plan(), selective = plan { $0.recomputation = .selective }, full = plan { $0.recomputation = .full }
        #expect(isClose(full.compute - none.compute, Self.blockOperations / 3 * 2e-9))
        #expect(isClose(selective.compute - none.compute, 2 * 12 * 64 * 5000 / 3 * 2e-9))
    }

    @Test func tensorParallelRanksShareTheWorkAndExchangeActivations() {
        let shared = plan(threads: 1) { $0.tensor = 2 }
        #expect(isClose(shared.compute, plan().compute))
        // In each of 2 layers 4 sums in f32 and 4 gathers in bf16; the embedding's sum and the last rows' gradient.
        let stream = 100.0 * 64
        #expect(isClose(shared.tensorExchange, (8 * stream * (4 + 2) + 8 * stream + 8 * 60 * 64) / 1e8))
        let repeated = plan(threads: 1) {
            $0.tensor = 2
            $0.sequenceParallel = false
        }
        // Half of the passes over memory, which take as long as the products, are not shared out.
        let operations = Self.blockOperations + Self.otherOperations
        #expect(isClose(repeated.compute - shared.compute, operations / 2 * (1 - 0.5) * 2e-9))
        #expect(isClose(repeated.tensorExchange - shared.tensorExchange, 8 * stream * 2 / 1e8))
    }

    @Test func ranksOfAHostExchangeBesideTheComputation() {
        let plan = plan { $0.data = 2 }
        // Both are shorter than the computation beside them, of which they take one of two threads.
        #expect(isClose(plan.gradientExchange, 4 * Self.parameters / 1e8 / 2))
        #expect(plan.weightExchange > 0 && plan.weightExchange < 4 * Self.parameters / 1e8 / 2)
        #expect(abs(plan.update / (Self.parameters / 2 / 1e6) - 1) < 1e-4)
    }

    @Test func aSlowNetworkIsWaitedFor() {
        let plan = plan {
            $0.data = 4
            $0.hosts = 4
        }
        // One bucket: three messages of an even part of the vector each, and its sum on arrival.
        let bytes = 4 * Self.parameters
        let messages = 3 * (bytes / 4 / Double(ExchangeSizes.messageBytes(hosts: 4))).rounded(.up)
        let exchange = messages * 1e-3 + bytes * 0.75 / 1e6 + bytes / 1e8
        let backward = plan.compute * 2 / 3
        #expect(isClose(plan.gradientExchange, exchange - backward + backward / 2))
        #expect(plan.weightExchange > plan.update)
    }

    @Test func elasticSumsWaitForEachOtherMicroBatch() {
        let plan = plan {
            $0.isElastic = true
            $0.microBatches = 4
        }
        #expect(isClose(plan.elasticSums, 3 * 4 * Self.parameters / 1e8))
    }
}

@Suite struct NetworkRatesTests {
    private let network = NetworkRates(bytesPerSecond: 1e9, latency: 1e-3)

    @Test func pairwiseExchange() {
        // 3 partners and 3/4 of 8 MB.
        #expect(
            abs(network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 1, buckets: 1, messageBytes: .max) - 0.009) < 1e-12
        )
        // Each piece of 2 MB in two messages.
        let cut = network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 1, buckets: 1, messageBytes: 1_000_000)
        #expect(abs(cut - 0.012) < 1e-12)
        // Two ranks of a host share its connection, and have half of each piece.
        let shared = network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 2, buckets: 1, messageBytes: 1_000_000)
        #expect(abs(shared - 0.009) < 1e-12)
        let buckets = network.exchangeSeconds(bytes: 8e6, hosts: 4, ranks: 1, buckets: 5, messageBytes: .max)
        #expect(abs(buckets - 0.021) < 1e-12)
    }

    @Test func oneHostExchangesNothing() {
        #expect(network.exchangeSeconds(bytes: 8e6, hosts: 1, ranks: 2, buckets: 3, messageBytes: 1000) == 0)
    }
}

@Suite struct FloatingPointWorkTests {
    @Test func theAverageOfPackedSequencesIsThatOfOneDocument() throws {
        let model = ModelConfiguration(
            layers: 2, width: 64, heads: 4, feedForward: 128, vocabulary: 1000, patchSize: 2, imageChannels: 4,
            imageHeight: 8, imageWidth: 8, beginOfText: 1, endOfText: 2, beginOfImage: 998, endOfImage: 999)
        var tokens = [Int32](repeating: 5, count: 100)
        for start in [10, 50] { for row in start..<start + 16 { tokens[row] = -1 } }
        let layout = try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: [10, 50], patchesPerImage: 16, beginOfImage: 998,
            endOfImage: 999)
        let exact = FloatingPointWork.Rows(layout)
        let average = FloatingPointWork.Rows(model, sequences: 1, sequenceLength: 100, textToImageRatio: 68 / 32)
        let text = 100 * 101 / 2, patches = 2 * 16 * 15 / 2
        #expect(exact.visiblePairs == Double(text + patches))
        #expect(abs(average.visiblePairs - exact.visiblePairs) < 1e-6)
        #expect(abs(average.patches - exact.patches) < 1e-9)
        let three = FloatingPointWork.Rows(model, sequences: 3, sequenceLength: 100, textToImageRatio: 68 / 32)
        #expect(abs(three.visiblePairs - 3 * exact.visiblePairs) < 1e-6)
    }
}
