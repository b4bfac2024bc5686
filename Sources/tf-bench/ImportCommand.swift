public import ArgumentParser
import Foundation
import TransfusionConfig
public import TransfusionData
import TransfusionTelemetry

extension Picture.Fit: ExpressibleByArgument {}
extension Picture.Filter: ExpressibleByArgument {}

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Measures how fast pictures are read and resized, format by format.",
        discussion: """
            Pictures are read from memory, decoded, cut and resized as 'tf-data import'
            does it, on all processors.

            EXAMPLE
              tf-bench import pictures --size 256
            """)

    @Argument(help: "Pictures, or folders of pictures.")
    var paths: [String]

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
    }

    func run() throws {
        var benchmark = PictureBenchmark(paths: paths)
        benchmark.size = size
        benchmark.fit = fit
        benchmark.filter = resample
        benchmark.threads = threads
        benchmark.seconds = seconds
        var progress = ProgressLine("measuring", total: 0)
        var done = 0
        let processors = ProcessorUse.allowedProcessors, before = ProcessorUse(of: processors)
        let rows = try benchmark.run {
            done += 1
            progress.update(done, $0)
        }
        progress.clear()
        warnIfBusy((ProcessorUse(of: processors) - before).othersShare)
        if json { return try printJSON(rows) }
        for row in rows {
            print(
                String(
                    format: "%@  %.0f pictures/s  %.1f MB/s  (%d pictures of %.0f kB and %.2f megapixels, %d threads)",
                    row.format.padding(toLength: 4, withPad: " ", startingAt: 0), row.picturesPerSecond,
                    row.megabytesPerSecond, row.pictures, row.bytes / 1e3, row.pixels / 1e6, row.threads))
        }
    }
}
