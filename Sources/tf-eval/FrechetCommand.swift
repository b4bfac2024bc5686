import ArgumentParser
import Foundation
import TransfusionConfig
import TransfusionEvaluation

struct FrechetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "frechet",
        abstract: "Says how far two sets of pictures are from each other, by their features.",
        discussion: """
            tf-eval frechet real.npz made.npz

            Each file is an .npz with mu and sigma, as pytorch-fid writes it, or with an
            array of features [pictures, width], or both; or features as .npy. Features
            also give the kernel distance (KID), precision and recall. With the features
            of Inception's last pooling layer, the Frechet distance is FID.
            """)

    @Argument(help: "The real pictures.")
    var real: String

    @Argument(help: "The pictures that were made.")
    var made: String

    @Option(help: "Subsets that the kernel distance is the mean of.")
    var kidSubsets = 100

    @Option(help: "Pictures in each subset.")
    var kidSubsetSize = 1000

    @Option(help: "Which nearest neighbour bounds the surroundings of a picture, for precision and recall.")
    var neighbour = 3

    @Option(help: "Chooses the subsets.")
    var seed = 0

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        for (option, value, range) in [
            ("--kid-subsets", kidSubsets, 1...10000), ("--kid-subset-size", kidSubsetSize, 2...20000),
            ("--neighbour", neighbour, 1...100),
        ] where !range.contains(value) {
            throw ValidationError(
                "\(option) must lie between \(range.lowerBound) and \(range.upperBound), not \(value)")
        }
    }

    func run() throws {
        var evaluation = FrechetEvaluation(real: real, made: made)
        evaluation.subsets = kidSubsets
        evaluation.subsetSize = kidSubsetSize
        evaluation.neighbour = neighbour
        evaluation.seed = seed
        let report = try evaluation.run()
        if json { return try printJSON(report) }
        print(String(format: "Fréchet distance  %.6g  (%d features)", report.frechetDistance, report.width))
        if let kernel = report.kernelDistance, let deviation = report.kernelDistanceDeviation {
            print(String(format: "kernel distance   %.6g ± %.2g", kernel, deviation))
        }
        if let precision = report.precision, let recall = report.recall {
            print(String(format: "precision         %.4f\nrecall            %.4f", precision, recall))
        }
        for (path, count) in [(real, report.realCount), (made, report.madeCount)] {
            if let count, count <= report.width {
                StandardStream.error.write(
                    "warning: \(path): \(count) pictures for \(report.width) features; distances of so few are biased\n"
                )
            }
        }
    }
}
