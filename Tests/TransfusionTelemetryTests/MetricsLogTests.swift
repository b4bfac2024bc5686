import Foundation
import Testing
import TransfusionConfig
import TransfusionSupport
import _TestUtilities

@testable import TransfusionTelemetry

struct MetricsLogTests {
    private let temporary: TemporaryDirectory
    private let path: String

    init() throws {
        temporary = try TemporaryDirectory()
        path = temporary.path + "/metrics.jsonl"
    }

    private func steps() throws -> [Int] { try MetricsLog.read(path).map(\.step) }

    private func append(_ text: String) throws {
        let file = try #require(FileHandle(forWritingAtPath: path))
        try file.seekToEnd()
        try file.write(contentsOf: Data(text.utf8))
    }

    @Test func aRecordIsOneLineWithTheDocumentedFields() {
        #expect(
            record(120).json == """
                {"step":120,"tokens":61440,"images":2880,"loss":2.31,"loss_image":0.082,"loss_text":1.9,\
                "grad_norm":0.71,"learning_rate":0.0003,"step_seconds":2.1,"tokens_per_second":5120.0,"mfu":0.41,\
                "others_share":0.02,"data_seconds":0.021,"communication_seconds":0.189,"wait_seconds":0.084,"memory_bytes":3100000000,\
                "text_image_ratio":1.5,"padding":0.0}
                """)
    }

    @Test func aShareOfThePeakThatIsNotKnownIsNull() throws {
        var unknown = record(1)
        unknown.modelFLOPsUtilization = nil
        unknown.othersShare = 0.5
        #expect(unknown.json.contains("\"mfu\":null,\"others_share\":0.5,"))
        #expect(StepRecord(json: Data(unknown.json.utf8)) == unknown)
        #expect(!unknown.scalars.contains { $0.tag == "perf/mfu" })
        // As it was before there was such a share.
        let old = record(1).json.replacing("\"others_share\":0.02,", with: "")
        #expect(StepRecord(json: Data(old.utf8))?.othersShare == .some(nil))
        var metrics = PrometheusMetrics()
        metrics.observe(unknown)
        #expect(!metrics.text.contains("mfu") && metrics.text.contains("transfusion_train_others_ratio 0.5\n"))
    }

    /// Data sets may be called anything.
    @Test func anyNameOfALossIsReadBack() throws {
        var named = record(1)
        let names = ["text/a b", "text/\"quoted\"", "image/back\\slash", "text/ü/名", "text/new\nline\u{1}"]
        let losses = Dictionary(uniqueKeysWithValues: names.map { ($0, 0.5) })
        named.validation = StepRecord.Validation(loss: 1, losses: losses)
        #expect(named.json.contains("\"validation_loss_text/a b\":0.5"))
        #expect(StepRecord(json: Data(named.json.utf8)) == named)
    }

    @Test func lossesKeepTheirBits() throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let loss = Double(bitPattern: generator.next())
            let line = record(1, loss: loss).json
            let back = try #require(StepRecord(json: Data(line.utf8)), "\(line)")
            if loss.isFinite {
                #expect(back.loss.bitPattern == loss.bitPattern, "\(line)")
            } else {
                #expect(line.contains("\"loss\":null") && back.loss.isNaN)
            }
        }
        // A loss computed in f32 is found again too.
        let narrow = Float(2) / 3
        let back = try #require(StepRecord(json: Data(record(1, loss: Double(narrow)).json.utf8)))
        #expect(Float(back.loss).bitPattern == narrow.bitPattern)
    }

    @Test(arguments: [[:], ["kl": 0.5, "adversarial_0": .infinity], ["text": 1, "": 2]] as [[String: Double]])
    func aTaskNamesThePartsOfItsLoss(_ parts: [String: Double]) throws {
        var written = record(1)
        written.losses = parts
        let back = try #require(StepRecord(json: Data(written.json.utf8)))
        #expect(back.losses == parts.filter(\.value.isFinite) || back.losses["adversarial_0"]?.isNaN == true)
        #expect(Set(back.losses.keys) == Set(parts.keys))
        let names = Set(written.scalars.map(\.tag).filter { $0.hasPrefix("loss/") })
        #expect(names == Set(parts.keys.map { "loss/" + $0 } + ["loss/total"]))
        var metrics = PrometheusMetrics()
        metrics.observe(written)
        for name in parts.keys { #expect(metrics.text.contains("transfusion_train_loss{modality=\"\(name)\"} ")) }
    }

    @Test func whatIsMeasuredOnOtherDataHasNamesOfItsOwn() throws {
        var written = record(1)
        #expect(!written.json.contains("validation") && StepRecord(json: Data(written.json.utf8))?.validation == nil)
        written.validation = StepRecord.Validation(loss: 2.5, losses: ["text": 2, "image": 0.1])
        #expect(
            written.json.hasSuffix(
                ",\"validation_loss\":2.5,\"validation_loss_image\":0.1,\"validation_loss_text\":2.0}"))
        #expect(StepRecord(json: Data(written.json.utf8)) == written)
        let tags = written.scalars.filter { $0.tag.hasPrefix("eval/") }.sorted { $0.tag < $1.tag }
        #expect(tags.map(\.tag) == ["eval/image", "eval/text", "eval/total"] && tags.map(\.value) == [0.1, 2, 2.5])
        var metrics = PrometheusMetrics(), console = StepConsole(totalSteps: 10)
        metrics.observe(written)
        // Later records say nothing of it, and the last value stays.
        metrics.observe(record(2))
        #expect(metrics.text.contains("transfusion_validation_loss{modality=\"total\"} 2.5\n"))
        #expect(console.line(written).contains(") val 2.50 (image 0.1 text 2.00) gnorm"))
        #expect(!console.line(record(2)).contains("val "))
    }

    @Test func goingOnRemovesTheStepsThatAreDoneAgain() throws {
        do {
            let log = try MetricsLog(path, continuingAfter: 0)
            for step in 1...10 { try log.append(record(step)) }
            try log.synchronize()
        }
        #expect(try steps() == Array(1...10))
        do {
            let log = try MetricsLog(path, continuingAfter: 6)
            #expect(try steps() == Array(1...6))
            try log.append(record(7, loss: 1))
        }
        #expect(try steps() == Array(1...7))
        #expect(try MetricsLog.read(path).last?.loss == 1)
        _ = try MetricsLog(path, continuingAfter: 100)
        #expect(try steps() == Array(1...7))
        _ = try MetricsLog(path, continuingAfter: 0)
        #expect(try Data(contentsOf: URL(filePath: path)).isEmpty)
    }

    @Test(arguments: ["{\"step\":4,\"tok", "\0\0\0\0\0\0", "{}\nnonsense\n"])
    func whatACrashLeftIsRemoved(_ torn: String) throws {
        do {
            let log = try MetricsLog(path, continuingAfter: 0)
            for step in 1...3 { try log.append(record(step)) }
        }
        let whole = try Data(contentsOf: URL(filePath: path))
        try append(torn)
        #expect(try steps() == [1, 2, 3])
        do {
            let log = try MetricsLog(path, continuingAfter: 3)
            #expect(try Data(contentsOf: URL(filePath: path)) == whole)
            try log.append(record(4))
        }
        #expect(try steps() == [1, 2, 3, 4])
    }

    @Test func aWriteThatFailsLeavesWholeRecords() async {
        // In a process of its own, because the limit stands for a disk that fills up in the middle of a line.
        await #expect(processExitsWith: .success) {
            let temporary = try TemporaryDirectory()
            let path = temporary.path + "/metrics.jsonl"
            let log = try MetricsLog(path, continuingAfter: 0)
            try log.append(record(1))
            let length = try Data(contentsOf: URL(filePath: path)).count
            signal(SIGXFSZ, SIG_IGN)
            var limit = rlimit(rlim_cur: rlim_t(length + 10), rlim_max: .max)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            let failure = #expect(throws: FileFailure.self) { try log.append(record(2)) }
            #expect(failure?.description == "\(path): cannot append to: File too large" && failure?.code == EFBIG)
            #expect(try Data(contentsOf: URL(filePath: path)).count == length)
            limit.rlim_cur = .max
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), &limit) == 0)
            try log.append(record(3))
            #expect(try MetricsLog.read(path).map(\.step) == [1, 3])
        }
    }

    @Test func pathsThatCannotBeLogsAreNamed() {
        let directory = #expect(throws: FileFailure.self) { _ = try MetricsLog(temporary.path, continuingAfter: 0) }
        #expect(directory?.path == temporary.path)
        #expect(throws: FileFailure.self) { _ = try MetricsLog.read(temporary.path + "/none") }
    }
}
