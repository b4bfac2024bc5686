import Testing
import TransfusionConfig
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionCoordinator

@Suite struct PlanReportTests {
    private static func cluster(hosts: Int = 4, cores: Int = 4, gigabytes: Double) -> PlannedCluster {
        PlannedCluster(
            hosts: hosts, cores: cores, memoryBytes: Int(gigabytes * 1e9),
            network: NetworkRates(bytesPerSecond: 3e9, latency: 2e-5), hostHoursBetweenFailures: 8760,
            checkpointBytesPerSecond: 1e9)
    }

    private static func report(
        _ overrides: String..., on cluster: PlannedCluster, only: [(data: Int, tensor: Int)]? = nil
    ) throws -> PlanReport {
        let configuration = try RunConfiguration(
            yaml: """
                model: {preset: 0.16b, patch: 2}
                data: {path: d}
                schedule: {steps: 5000}
                batch: {sequence_length: 1024, global_sequences: 64}
                """, overrides: overrides)
        let model = configuration.modelConfiguration(
            vocabulary: 32002, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 1, endOfText: 2,
            beginOfImage: 32000, endOfImage: 32001)
        return try PlanReport(configuration, model, on: cluster, .example, only: only)
    }

    @Test func everyLayoutOfAClusterIsThereOnceAndTheFastestFirst() throws {
        let report = try Self.report(on: Self.cluster(gigabytes: 64))
        #expect(report.rejected.isEmpty)
        // 1, 2 or 4 ranks on each of 4 hosts, split between data and tensor.
        let layouts = report.rows.map { [$0.layout.data, $0.layout.choice.tensor] }
        #expect(Set(layouts) == [[4, 1], [8, 1], [16, 1], [4, 2], [8, 2], [4, 4]])
        #expect(layouts.count == 6)
        let speeds = report.rows.map(\.layout.tokensPerDay)
        #expect(speeds == speeds.sorted(by: >))
        // All fit without computing anything again, and nothing is faster.
        #expect(report.rows.allSatisfy { $0.layout.choice.recompute == .none && $0.note == nil })
        for row in report.rows {
            #expect(row.layout.threads * row.layout.choice.ranksPerHost == 4)
            #expect(row.layout.hostMemoryBytes == row.layout.memory.total * row.layout.choice.ranksPerHost)
            #expect(row.layout.utilization > 0.3 && row.layout.utilization < 1)
        }
        #expect(report.tokensPerStep == 65536)
    }

    @Test func whatIsTooLargeSaysWhatWouldFit() throws {
        let roomy = try Self.report(on: Self.cluster(gigabytes: 64))
        let least = try #require(roomy.rows.map(\.layout.hostMemoryBytes).min())
        // Room for the smallest only, as it is.
        let tight = Self.cluster(gigabytes: Double(least) / 1e9 * 1.01)
        let report = try Self.report(on: tight)
        #expect(!report.rows.isEmpty && !report.rejected.isEmpty)
        #expect(report.rows.allSatisfy { $0.layout.hostMemoryBytes <= tight.memoryBytes })
        for rejection in report.rejected {
            #expect(rejection.layout.hostMemoryBytes > tight.memoryBytes)
            #expect(rejection.layout.choice.recompute == .full)
            #expect(rejection.remedy != nil, "\(rejection.reason)")
        }
        let four = try #require(
            report.rejected.first { $0.layout.choice.ranksPerHost == 4 && $0.layout.choice.tensor == 1 })
        #expect(four.remedy == "1 rank a host, recompute none")
    }

    @Test func recomputationIsChosenWhereMemoryIsShort() throws {
        let only = [(data: 4, tensor: 1)]
        let big = "batch.micro_sequences=8"
        let none = try #require(Self.report(big, on: Self.cluster(gigabytes: 64), only: only).rows.first?.layout)
        let report = try Self.report(
            big, on: Self.cluster(gigabytes: Double(none.hostMemoryBytes) / 1e9 * 0.98), only: only)
        let row = try #require(report.rows.first)
        #expect(none.choice.recompute == .none && row.layout.choice.recompute != .none)
        #expect(row.layout.stepSeconds > none.stepSeconds)
        #expect(try #require(row.note).contains("recompute none needs"))
    }

    @Test func smallerMicroBatchesAreTheNearestRemedy() throws {
        let only = [(data: 4, tensor: 1)]
        let one = try Self.report(on: Self.cluster(gigabytes: 64), only: only)
        let room = Double(try #require(one.rows.first).layout.hostMemoryBytes) / 1e9
        let report = try Self.report("batch.micro_sequences=16", on: Self.cluster(gigabytes: room), only: only)
        let rejection = try #require(report.rejected.first)
        #expect(report.rows.isEmpty)
        let remedy = try #require(rejection.remedy)
        let micro = try #require(remedy.split(whereSeparator: { " ,".contains($0) }).dropFirst().first)
        let form = try #require(remedy.split(separator: " ").last)
        let remedied = try Self.report(
            "batch.micro_sequences=\(micro)", "parallel.recompute=\(form)", on: Self.cluster(gigabytes: room),
            only: only)
        #expect(remedied.rows.count == 1, "\(remedy)")
    }

    @Test func sevenBillionParametersOnAThousandHosts() throws {
        let recipe = [
            "model.preset=7b", "batch.sequence_length=4096", "batch.global_sequences=1024", "parallel.recompute=full",
        ]
        let cluster = Self.cluster(hosts: 1000, cores: 64, gigabytes: 256)
        let report = try Self.report(recipe[0], recipe[1], recipe[2], recipe[3], on: cluster)
        #expect(report.model.parameters > 6_500_000_000 && report.model.parameters < 7_500_000_000)
        let best = try #require(report.rows.first?.layout)
        #expect(best.checkpoint.bytes == 12 * report.model.parameters)
        // A thousand hosts that fail once a year each: 8.76 hours from one failure to the next.
        let whole = try #require(report.rows.first { $0.layout.hosts == 1000 })
        #expect(abs(whole.layout.checkpoint.secondsBetweenFailures - 8.76 * 3600) < 1)
        #expect(whole.layout.checkpoint.effectiveTime > 0.9 && whole.layout.checkpoint.effectiveTime < 1)
        // 1,024 sequences for 1,000 ranks: most compute one of the two micro-batches that some compute.
        let uneven = try #require(report.rows.first { $0.layout.data == 1000 && $0.layout.choice.tensor == 1 })
        #expect(uneven.layout.microBatches == 2 && abs(uneven.layout.idle - 0.488) < 1e-9)
        #expect(try #require(uneven.note).contains("49 % idle: 1024 micro-batches on 1000 ranks"))
        // Places that too few micro-batches leave empty make no other layout.
        let places = report.rows.map { [$0.layout.data, $0.layout.choice.tensor, $0.layout.choice.ranksPerHost] }
        #expect(Set(places).count == places.count && places.contains([1024, 1, 2]))
        // Weights and gradients are there whole on every host; of moments and master weights a thousandth.
        let one = try Self.report(
            recipe[0], recipe[1], recipe[2], on: Self.cluster(hosts: 1, cores: 64, gigabytes: 256))
        let alone = try #require((one.rows.map(\.layout) + one.rejected.map(\.layout)).first { $0.choice.tensor == 1 })
        #expect(alone.memory.moments / uneven.layout.memory.moments >= 999)
        #expect(alone.memory.weights == uneven.layout.memory.weights)
        #expect(try #require(report.configured).choice.recompute == .full)
    }

    @Test func nothingFitsIsSaidInOneLine() throws {
        let report = try Self.report(on: Self.cluster(gigabytes: 0.5))
        #expect(report.rows.isEmpty && report.rejected.allSatisfy { $0.remedy == nil })
        #expect(PlanText(report, rows: 3).text.contains("nothing fits: hosts need at least"))
        #expect(try #require(report.configured).fits == false)
    }

    @Test func impossibleLayoutsAreRefused() throws {
        let cluster = Self.cluster(gigabytes: 64)
        let two = try Self.report(on: cluster, only: [(data: 2, tensor: 1), (data: 4, tensor: 4)])
        #expect(Set(two.rows.map(\.layout.hosts)) == [2, 4])
        for impossible in [(data: 17, tensor: 1), (data: 1, tensor: 8), (data: 1, tensor: 5)] {
            #expect(throws: CommandFailure.self) { try Self.report(on: cluster, only: [impossible]) }
        }
    }

    @Test func whatTakesForeverIsSaid() throws {
        var cluster = Self.cluster(gigabytes: 64)
        cluster.network = NetworkRates(bytesPerSecond: 1e-9, latency: 0)
        cluster.checkpointBytesPerSecond = 1e-9
        cluster.hostHoursBetweenFailures = 1e30
        let text = PlanText(try Self.report("schedule.steps=1000000000", on: cluster), rows: 9).text
        #expect(text.contains("over ") && text.contains("checkpoint.every_steps: "), "\(text)")
    }

    @Test func theTableNamesWhatItReckonsWith() throws {
        let report = try Self.report(on: Self.cluster(gigabytes: 64))
        let text = PlanText(report, rows: 2).text
        for part in [
            "24 Gbit/s and 20 µs", "a host fails every 8760 h", "… and 4 more", "checkpoint.every_steps:", "moments",
        ] {
            #expect(text.contains(part), "\(part) is not in\n\(text)")
        }
        #expect(text.split(separator: "\n").allSatisfy { !$0.hasSuffix(" ") })
    }
}
