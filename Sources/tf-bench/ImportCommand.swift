public import ArgumentParser
import Foundation
import TransfusionBenchmarks
import TransfusionConfig
public import TransfusionData
import TransfusionTelemetry

extension Picture.Fit: ExpressibleByArgument {}
extension Picture.Filter: ExpressibleByArgument {}

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Measures how fast pictures are read and resized, and texts are encoded.",
        discussion: """
            Pictures are read from memory, decoded, cut and resized as 'tf-data import'
            does it, on all processors. Texts are read and encoded likewise, from the
            disk; of Parquet files all columns are read, by one thread.

            EXAMPLES
              tf-bench import pictures --size 256
              tf-bench import corpus.jsonl --tokenizer tokenizer.json --threads 1
              tf-bench import texts.parquet
            """)

    @Argument(help: "Pictures, folders of pictures, JSONL files (.jsonl, .gz, .zst) or Parquet files.")
    var paths: [String]

    @Option(help: "A SentencePiece .model or a tokenizer.json for texts; without it they are only read.")
    var tokenizer: String?

    @Option(help: "Pixels on a side.")
    var size = 256

    @Option(help: "crop or pad.")
    var fit = Picture.Fit.crop

    @Option(help: "bicubic or lanczos.")
    var resample = Picture.Filter.bicubic

    @Option(help: "Threads; as many as there are processors unless given.")
    var threads: Int?

    @Option(help: "Seconds for each format.")
    var seconds = 2.0

    @Flag(help: "Print one JSON list.")
    var json = false

    func validate() throws {
        if !(1...4096).contains(size) { throw ValidationError("--size: must lie between 1 and 4096") }
        if let threads, !(1...1024).contains(threads) {
            throw ValidationError("--threads: must lie between 1 and 1024")
        }
        if !(0...3600).contains(seconds) { throw ValidationError("--seconds: must lie between 0 and 3600") }
        let texts = paths.count { path in Self.textEndings.contains { path.hasSuffix($0) } }
        if json, texts > 0, texts < paths.count {
            throw ValidationError("--json: measure pictures and texts one after the other, a list is of one of them")
        }
    }

    private static let textEndings = [".jsonl", ".gz", ".zst", ".parquet"]

    func run() throws {
        let texts = paths.filter { path in Self.textEndings.contains { path.hasSuffix($0) } }
        let pictures = paths.filter { !texts.contains($0) }
        let processors = ProcessorUse.allowedProcessors, before = ProcessorUse(of: processors)
        let pictureRows = pictures.isEmpty ? [] : try measure(pictures: pictures)
        let textRows = texts.isEmpty ? [] : try measure(texts: texts)
        warnIfBusy((ProcessorUse(of: processors) - before).othersShare)
        if json { return try textRows.isEmpty ? printJSON(pictureRows) : printJSON(textRows) }
        for row in pictureRows {
            print(
                String(
                    format: "%@  %.0f pictures/s  %.1f MB/s  (%d pictures of %.0f kB and %.2f megapixels, %d threads)",
                    row.format.padding(toLength: 4, withPad: " ", startingAt: 0), row.picturesPerSecond,
                    row.megabytesPerSecond, row.pictures, row.bytes / 1e3, row.pixels / 1e6, row.threads))
        }
        for row in textRows {
            let tokens = row.tokens.map { ", \($0) tokens" } ?? ""
            print(
                String(
                    format: "%@  %.1f MB/s  (%.1f MB%@, %d %@)", row.format, row.megabytesPerSecond,
                    Double(row.bytes) / 1e6, tokens, row.threads, row.threads == 1 ? "thread" : "threads"))
        }
    }

    private func measure(pictures paths: [String]) throws -> [PictureBenchmark.Row] {
        var benchmark = PictureBenchmark(paths: paths)
        benchmark.size = size
        benchmark.fit = fit
        benchmark.filter = resample
        benchmark.threads = threads
        benchmark.seconds = seconds
        var progress = ProgressLine("measuring", total: 0)
        defer { progress.clear() }
        var done = 0
        return try benchmark.run {
            done += 1
            progress.update(done, $0)
        }
    }

    private func measure(texts paths: [String]) throws -> [TextBenchmark.Row] {
        var benchmark = TextBenchmark(paths: paths)
        benchmark.tokenizerPath = tokenizer
        benchmark.threads = threads
        var progress = ProgressLine("measuring", total: 0)
        defer { progress.clear() }
        return try benchmark.run { progress.update($1, $0) }
    }
}
