public import ArgumentParser
import Foundation
import TransfusionConfig
public import TransfusionEvaluation

struct FrechetCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "frechet",
        abstract: "Says how far two sets of pictures are from each other, by their features.",
        discussion: """
            tf-eval frechet real made --features pt_inception-2015-12-05-6726825d.pth
            mpirun -n 2 tf-eval frechet real made --features inception.safetensors
            tf-eval frechet real.npz made.npz

            Each set is a folder of pictures; or an .npz with mu and sigma, as pytorch-fid
            writes it, or with an array of features [pictures, width], or both; or
            features as .npy. Features also give the kernel distance (KID), precision and
            recall. With the weights that pytorch-fid distributes, the Frechet distance is
            FID. Without --features the network has random weights: its distances tell
            sets apart, but compare with no published number.
            """)

    @Argument(help: "The real pictures.")
    var real: String

    @Argument(help: "The pictures that were made.")
    var made: String

    @Option(help: "The weights of Inception v3 that pytorch-fid distributes, as .pth or .safetensors.")
    var features: String?

    @Option(help: "How pictures are resized for the network: as pytorch-fid does, or as clean-fid does.")
    var variant = InceptionFeatures.Variant.pytorch

    @OptionGroup var threads: RankThreadsOption

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
        evaluation.weights = features
        evaluation.variant = variant
        evaluation.threads = threads.count
        let onRankZero = try measureOnAllRanks { group, ranks, _ in try evaluation.run(group, ranksOnHost: ranks) }
        guard let report = onRankZero ?? nil else { return }
        if json { try printJSON(report) } else { printTable(of: report) }
        for (path, count) in [(real, report.realCount), (made, report.madeCount)] {
            if let count, count <= report.width {
                StandardStream.error.write(
                    "warning: \(path): \(count) pictures for \(report.width) features; distances of so few are biased\n"
                )
            }
        }
    }

    private func printTable(of report: FrechetEvaluation.Report) {
        if let network = report.network, let variant = report.variant {
            print("features of \(network), pictures resized as in \(variant == .clean ? "clean-fid" : "pytorch-fid")")
        }
        print(String(format: "Fréchet distance  %.6g  (%d features)", report.frechetDistance, report.width))
        if let kernel = report.kernelDistance, let deviation = report.kernelDistanceDeviation {
            print(String(format: "kernel distance   %.6g ± %.2g", kernel, deviation))
        }
        if let precision = report.precision, let recall = report.recall {
            print(String(format: "precision         %.4f\nrecall            %.4f", precision, recall))
        }
    }
}

extension InceptionFeatures.Variant: ExpressibleByArgument {}
