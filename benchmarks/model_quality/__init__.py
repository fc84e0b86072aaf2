"""Does the platform's search find models as good as those a careful analyst would fit by hand?"""
